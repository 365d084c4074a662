"""What a training is asked to do and what it says: values that travel between the daemon and its trainer.

Whoever asks first finds the backbone (`choose_backbone`), or with `backbone = auto` the `candidates` for it. Imports
nothing heavy: the trainer reads its request before it loads its libraries.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import Bottlenecks, DoubtfulLabels, Judgement, SideBySide, TrainingReport
from edged.errors import ModelError, RefusedError
from edged.jobs.process import Child

if TYPE_CHECKING:
    from edged.contract.reports import BackboneChoice
    from edged.images import ImageStore
    from edged.learning.dataset import Selection
    from edged.store import Bundle, Store

Stage = Literal["scan", "bottlenecks", "training", "comparison", "export", "evaluation", "learning curve", "writing"]

AUTO = "auto"
"""In place of a backbone's name: the one that is likely best for these images."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the device can afford of a network that is chosen with `AUTO`. None: anything.

    Attributes:
        within_ms: Longest invocation, milliseconds a frame.
        memory_mb: Most memory that running it takes, 10^6 bytes.
        threads: For one invocation, as in the setting `model.threads`.
    """

    within_ms: float | None = None
    memory_mb: float | None = None
    threads: int = 1

    def __bool__(self) -> bool:
        """Tell whether there is any limit."""
        return self.within_ms is not None or self.memory_mb is not None


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training.

    Attributes:
        state_dir: Where labeled images, their index, versions and runs lie.
        images: A folder with one folder per label, in place of the device's own images; it is only read.
        images_max_mb: Room for the device's own images, as in the setting `storage.images_max_mb`.
        backbone: Folder of the bundle whose network gets a new head.
        candidates: Folders of bundles of which one's network gets a new head, in place of `backbone`'s; see `Choose`.
            Empty: there is nothing to choose.
        limits: What a candidate may cost.
        current: Folder of the bundle that runs; the new one must not be worse. None: nothing to compare with.
        run: Name of the training: the job's id. Names the TensorBoard run.
        hyperparameters: How to train, and how good the new model must be.
        runtime: What runs networks, see `settings.ModelSettings.engine`.
        workers: Threads that compute bottlenecks; 0: one per core.
        accept: Whether a model of which too few images tell whether it is worse is written all the same.
        out: Folder that the bundle is written to, in place of the versions in `state_dir`.
    """

    state_dir: Path
    backbone: Path
    run: str
    current: Path | None = None
    images: Path | None = None
    images_max_mb: float = 512.0
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    runtime: str = "auto"
    workers: int = 0
    accept: bool = False
    out: Path | None = None
    candidates: tuple[Path, ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: The stage that it is in.
        fraction: How much of the whole training is done, 0..1.
        detail: Numbers of this stage, e.g. {"done": 120, "of": 3670} or {"epoch": 3, "loss": 0.4}.
    """

    stage: Stage
    fraction: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        status: "succeeded"; "rejected": it cannot be done, or the new model is not good enough; "failed".
        report: What came out; empty where the training ended before its model was judged.
        error: Why it did not succeed, one line.
        bundle: Folder of the new bundle.
    """

    status: Literal["succeeded", "rejected", "failed"]
    report: TrainingReport = field(default_factory=TrainingReport)
    error: str | None = None
    bundle: Path | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The network that a training chose among its candidates.

    Attributes:
        bundle: The bundle whose network gets the new head.
        report: Why; `choice` in the training's report.
    """

    bundle: Bundle
    report: BackboneChoice


if TYPE_CHECKING:
    Choose = Callable[[TrainingRequest, ImageStore, Selection, Callable[[int, int], None]], Choice]
    """Chooses one of `request.candidates` for the labeled images of a selection.

    The last argument is told how many parts of the work are done, and how many there are.
    """


def candidates(store: Store, name: str | None, limits: Limits | None = None) -> tuple[Path, ...]:
    """Return the folders of the bundles that a training chooses its backbone from; none where `name` is not `AUTO`.

    Args:
        store: Where models are installed.
        name: What was asked for as the backbone.
        limits: What a candidate may cost; only with `AUTO`.

    Raises:
        RefusedError: There is nothing to choose from, or limits but no choice.
    """
    if name != AUTO:
        if limits:
            raise RefusedError(f"limits of time and memory choose among networks: they need backbone = {AUTO}")
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
        store: Where models are installed.
        current: The model that answers now.
        name: An installed model, by name or id. None or `AUTO`: the backbone of `current`, as it was installed if it
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


TRAINER = Child("edged.learning.trainer", "trainer", TrainingRequest, Progress, Outcome)
CHOOSING_TRAINER = Child("edged.lab.trainer", "trainer", TrainingRequest, Progress, Outcome)
"""The trainer of a request with candidates: it ranks them first."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What a trainer may read while it waits for its request, which may then be for something else.

    Attributes:
        runtime: The interpreter that it will use, see `TrainingRequest.runtime`.
        bundles: Folders of the bundles that it will look at.
    """

    runtime: str
    bundles: tuple[Path, ...] = ()

    def encode(self) -> str:
        """Return JSON, for the child's command line."""
        return json.dumps([self.runtime, *map(str, self.bundles)])

    @classmethod
    def decode(cls, text: str) -> Needed:
        """Return what was encoded."""
        runtime, *bundles = json.loads(text)
        return cls(runtime, tuple(map(Path, bundles)))


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """A review of the labels of the device's images. Attributes as `TrainingRequest`, and:

    Attributes:
        limit: So many images are named; None: those whose label is more likely wrong than right.
    """

    state_dir: Path
    backbone: Path
    images_max_mb: float = 512.0
    runtime: str = "auto"
    workers: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """What came out of a review."""

    report: DoubtfulLabels


REVIEWER = Child("edged.learning.reviewer", "review of the labels", ReviewRequest, Progress, ReviewOutcome)


@dataclass(frozen=True, slots=True)
class SharingRequest:
    """What a device shares of its images, see `sharing.share`. Attributes as `TrainingRequest`, and:

    Attributes:
        clip, sigma: The noise, see `privacy.Noise`; None: none.
    """

    state_dir: Path
    backbone: Path
    images_max_mb: float = 512.0
    runtime: str = "auto"
    workers: int = 0
    clip: float | None = None
    sigma: float | None = None


SHARED = "shared"
"""The folder of the state folder where what is shared waits to be fetched."""
SHARER = Child("edged.learning.sharer", "sharing of bottlenecks", SharingRequest, Progress, Bottlenecks)


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """A model that was made elsewhere and shall be judged, see `offer.judge`. Attributes as `TrainingRequest`, and:

    Attributes:
        model: Folder of its bundle.
        judges: File with the heads that judge for it, see `judges`; None: the test side alone judges.
        current_judges: The same of the model that answers; None: it was not made for many devices.
        untested: Whether it may answer where there is no test image.
    """

    state_dir: Path
    model: Path
    current: Path
    images_max_mb: float = 512.0
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    runtime: str = "auto"
    workers: int = 0
    accept: bool = False
    untested: bool = False
    judges: Path | None = None
    current_judges: Path | None = None


JUDGE = Child("edged.learning.judge", "judge", JudgeRequest, Progress, Judgement)


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """A model that is compared with the one that answers, see `side_by_side`. Attributes as `JudgeRequest`."""

    state_dir: Path
    model: Path
    current: Path
    images_max_mb: float = 512.0
    runtime: str = "auto"
    workers: int = 0


COMPARER = Child("edged.learning.comparer", "comparison of models", ComparisonRequest, Progress, SideBySide)
