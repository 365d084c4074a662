"""What a training is asked to do and what it says: values that travel between the daemon and its trainer.

Imports nothing heavy: the trainer reads its request before it loads its libraries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import TrainingReport
from edged.jobs.process import Child

Stage = Literal["scan", "bottlenecks", "training", "export", "evaluation", "learning curve", "writing"]


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training.

    Attributes:
        state_dir: Where labeled images, their index, versions and runs lie.
        images: A folder with one folder per label, in place of the device's own images; it is only read.
        images_max_mb: `storage.images_max_mb`.
        backbone: Folder of the bundle whose network gets a new head.
        candidates: Folders of bundles that `pipeline.train` lets its `choose` pick the backbone from; none: `backbone`.
        current: Folder of the bundle that runs; the new one must not be worse. None: nothing to compare with.
        run: Name of the training: the job's id. Names the TensorBoard run.
        hyperparameters: How to train, and how good the new model must be.
        runtime: `model.runtime`.
        workers: Threads that compute bottlenecks; 0: one per core.
        out: Folder that the bundle is written to, in place of the versions in `state_dir`.
    """

    state_dir: Path
    backbone: Path
    run: str
    current: Path | None = None
    images: Path | None = None
    images_max_mb: float = 512.0
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    runtime: Literal["auto", "litert", "tflite_runtime"] = "auto"
    workers: int = 0
    out: Path | None = None
    candidates: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: What it does.
        fraction: Of the whole training, 0..1.
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
        error: Why not succeeded; one line.
        bundle: Folder of the new bundle.
    """

    status: Literal["succeeded", "rejected", "failed"]
    report: TrainingReport = field(default_factory=TrainingReport)
    error: str | None = None
    bundle: Path | None = None


TRAINER = Child("edged.learning.trainer", "trainer", TrainingRequest, Progress, Outcome)
CHOOSING_TRAINER = Child("edged.lab.trainer", "trainer", TrainingRequest, Progress, Outcome)
"""The one for a request with candidates: ranks them first."""
