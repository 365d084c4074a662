"""Which installed network gets the new head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.errors import ModelError
from edged.learning.request import RefusedError

if TYPE_CHECKING:
    from edged.store import Bundle, Store


def choose_backbone(store: Store, current: Bundle, name: str | None) -> Bundle:
    """Return the bundle whose backbone is retrained.

    Args:
        store: What is installed.
        current: What runs.
        name: An installed model, by name or id; None: the backbone of what runs, as it was installed if it still is,
            so that the same images give the same bundle however often they are trained on.

    Raises:
        RefusedError: There is no such model; the text lists those that are installed.
    """
    if name is not None:
        try:
            return store.find(name)
        except ModelError as error:
            raise RefusedError(f"backbone: {error}") from error
    wanted = current.manifest.backbone_sha256
    installed = store.installed()
    return next((bundle for bundle in installed if bundle.manifest.sha256 == wanted), current)
