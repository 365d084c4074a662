"""Training of one head for many devices: `python -m edged.lab.together`, a child process of `edgectl learn`.

edgectl knows this module by its path alone, and that it reads a request and writes progress and an outcome as
`jobs.process` says; where only edgectl is installed there is no such module.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import TrainingReport
from edged.jobs.process import Child, serve
from edged.process import limit_threads

if TYPE_CHECKING:
    from edged.learning.bottlenecks import Backbone
    from edged.learning.sharing import Shared


JUDGES = "judges.bin"
"""In the bundle's folder: the heads that judge for the model on each device, see `learning.judges`."""


@dataclass(frozen=True, slots=True)
class TogetherRequest:
    """One head for many devices.

    Attributes:
        files: Device → file with what it has shared.
        out: Folder that the bundle is written to.
        run: Name of the training.
        hyperparameters: How to train, by name; what is missing has its default.
        state_dir: Where this machine's installed networks lie; None: where a daemon of this user would keep them.
    """

    files: dict[str, Path]
    out: Path
    run: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    state_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class TogetherProgress:
    """The stage, and the share 0..1 that is done."""

    stage: str
    fraction: float


@dataclass(frozen=True, slots=True)
class TogetherOutcome:
    """What came out.

    Attributes:
        bundle: Folder of the bundle.
        backbone: Name of the network below the head, and the hash of its file, as it is installed here.
        report: Of the training.
        images: Device → images of it that took part.
        left_out: Device → why nothing of it took part.
        twice, contradictory: Images that were left out, see `learning.pooled.Pool`.
        seconds: What it took.
    """

    bundle: Path
    backbone: tuple[str, str]
    report: TrainingReport
    images: dict[str, int]
    left_out: dict[str, str]
    twice: int
    contradictory: int
    seconds: float


TOGETHER = Child("edged.lab.together", "training", TogetherRequest, TogetherProgress, TogetherOutcome, niceness=0)


def run(request: TogetherRequest, tell: Callable[[TogetherProgress], None]) -> TogetherOutcome:
    """Read what the devices have shared, train, and write a bundle.

    Raises:
        RefusedError: What they have shared does not belong together, or allows no training.
        ModelError: The network that has made the bottlenecks is not installed here.
    """
    from edged.learning import pooled
    from edged.learning.export import write_bundle

    began = time.monotonic()
    tell(TogetherProgress("reading", 0.0))
    shared, left_out = read(request.files)
    hyperparameters = Hyperparameters.model_validate(request.hyperparameters)
    backbone = find_backbone(next(iter(shared.values())), request.state_dir)
    put_together = pooled.pool(shared)
    made = pooled.train(
        put_together,
        backbone,
        hyperparameters,
        request.run,
        lambda stage, share: tell(TogetherProgress(stage, share)),
    )
    tell(TogetherProgress("writing", 0.98))
    bundle = write_bundle(request.out, made.model, made.labels, made.manifest, None, made.familiarity)
    (bundle.path / JUDGES).write_bytes(made.judges.encode())
    images = Counter(image.path.parent.name for image in put_together.images)
    return TogetherOutcome(
        bundle.path,
        (backbone.bundle.backbone, backbone.sha256),
        made.report,
        {device: images[device] for device in shared},
        left_out,
        put_together.twice,
        put_together.contradictory,
        round(time.monotonic() - began, 3),
    )


def read(files: dict[str, Path]) -> tuple[dict[str, Shared], dict[str, str]]:
    """Read what devices have shared.

    Returns:
        Device → what it has shared; and device → why that is of no use: the others learn without it.

    Raises:
        RefusedError: Nothing is of use; the error names a device.
    """
    from edged.errors import RefusedError
    from edged.learning import pooled
    from edged.learning.sharing import Shared

    shared: dict[str, Shared] = {}
    left_out: dict[str, str] = {}
    for device, path in files.items():
        try:
            shared[device] = Shared.decode(path.read_bytes())
        except RefusedError as error:
            left_out[device] = str(error)
    if not shared:
        device, why = next(iter(left_out.items()))
        raise RefusedError(f"{device}: {why}")
    left_out |= pooled.unlike(shared)
    return {device: one for device, one in shared.items() if device not in left_out}, left_out


def find_backbone(shared: Shared, state_dir: Path | None) -> Backbone:
    """Return the network that has made shared bottlenecks, as it is installed on this machine.

    Raises:
        ModelError: It is not; says how it gets here.
    """
    from edged.errors import ModelError
    from edged.learning.bottlenecks import Backbone
    from edged.settings import StorageSettings
    from edged.store import Store

    store = Store(StorageSettings().state_dir if state_dir is None else state_dir)
    for bundle in store.installed():
        if bundle.manifest.sha256 == shared.backbone_sha256:
            return Backbone.of(bundle, "auto")
    raise ModelError(
        f"the devices' network {shared.backbone} ({shared.backbone_sha256[:12]}) is not installed on this machine: "
        f"`edged models pull {shared.backbone}` or `edged models add` brings it here"
    )


if __name__ == "__main__":
    limit_threads()
    serve(TOGETHER, run)
