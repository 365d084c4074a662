"""Which installed network gets the new head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edged.errors import ModelError, RefusedError

if TYPE_CHECKING:
    from edged.contract.reports import BackboneChoice
    from edged.images import ImageStore
    from edged.learning.dataset import Selection
    from edged.learning.request import TrainingRequest
    from edged.store import Bundle, Store

    Choose = Callable[[TrainingRequest, ImageStore, Selection, Callable[[int, int], None]], "Choice"]
    """Chooses one of `request.candidates` for the labeled images of a selection.

    The last argument is told how many images have passed through a network, and how many shall.
    """

AUTO = "auto"
"""In place of a backbone's name: the one that is likely best for these images."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The network that a training chose among its candidates.

    Attributes:
        bundle: Its backbone gets the new head.
        report: Why; `choice` in the training's report.
    """

    bundle: Bundle
    report: BackboneChoice


def candidates(store: Store, name: str | None) -> tuple[Path, ...]:
    """Return the folders of the bundles that a training chooses its backbone from; none but for `AUTO`.

    Raises:
        RefusedError: There is nothing to choose from.
    """
    if name != AUTO:
        return ()
    installed = store.installed()
    if len({bundle.manifest.backbone_sha256 for bundle in installed}) < 2:
        have = ", ".join(bundle.name for bundle in installed) or "none"
        raise RefusedError(
            f"backbone = auto: nothing to choose from, installed is only {have}; "
            "`edged models list` shows what can be pulled"
        )
    return tuple(bundle.path for bundle in installed)


def choose_backbone(store: Store, current: Bundle, name: str | None) -> Bundle:
    """Return the bundle whose backbone is retrained.

    Args:
        store: What is installed.
        current: What runs.
        name: An installed model, by name or id; None, `AUTO`: the backbone of what runs, as it was installed if it
            still is, so that the same images give the same bundle however often they are trained on.

    Raises:
        RefusedError: There is no such model; the text lists those that are installed.
    """
    if name is not None and name != AUTO:
        try:
            return store.find(name)
        except ModelError as error:
            raise RefusedError(f"backbone: {error}") from error
    wanted = current.manifest.backbone_sha256
    installed = store.installed()
    return next((bundle for bundle in installed if bundle.manifest.sha256 == wanted), current)
