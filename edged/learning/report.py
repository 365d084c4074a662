"""What a training tells of itself, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edged.learning.dataset import Examples
    from edged.learning.evaluation import Evaluation, Verdict
    from edged.learning.learning_curve import LearningCurve
    from edged.learning.request import TrainingRequest
    from edged.learning.softmax_regression import EpochReport, Fitted
    from edged.types import Vector

MOST_CONFUSED = 10
WORST = 10
MOST_SKIPPED = 200
"""Entries of these lists; a job must stay a message."""


def hyperparameters(request: TrainingRequest) -> dict[str, Any]:
    """Return what the training was asked for."""
    return request.hyperparameters.model_dump()


def training(fitted: Fitted) -> dict[str, Any]:
    """Return how the training of the head went."""
    best = fitted.history[fitted.best_epoch - 1] if fitted.best_epoch else fitted.history[-1]
    return {
        "epochs": fitted.epochs_run,
        "best_epoch": fitted.best_epoch,
        "stopped": fitted.stopped,
        "loss": rounded(best.loss),
        "validation_loss": rounded(best.validation_loss),
    }


def classes(evaluation: Evaluation, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return label → images, precision and recall on the test side."""
    return {
        label: {"images": one.images, "precision": rounded(one.precision), "recall": rounded(one.recall)}
        for label, one in zip(labels, evaluation.classes, strict=True)
    }


def confused(evaluation: Evaluation, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most confused pairs."""
    return [
        {"label": labels[pair.label], "predicted": labels[pair.predicted], "count": pair.count}
        for pair in evaluation.confusions[:MOST_CONFUSED]
    ]


def worst(evaluation: Evaluation, examples: Examples, scores: Vector, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the test images that are furthest from their label: mislabeled, or worth more images like them."""
    return [
        {
            "id": examples.images[index].id,
            "file": examples.images[index].path.name,
            "label": labels[int(examples.labels[index])],
            "predicted": labels[int(scores[index].argmax())],
            "score": rounded(float(scores[index, examples.labels[index]])),
        }
        for index in evaluation.worst[:WORST]
    ]


def curve(learned: LearningCurve) -> dict[str, Any]:
    """Return accuracy at a quarter, half, three quarters and all of the training images, and the outlook."""
    return {
        "points": [{"images": point.images, "accuracy": rounded(point.accuracy)} for point in learned.points],
        "gain_per_100": rounded(learned.gain_per_100, 5),
    }


def verdict(decision: Verdict, incumbent: str | None, compared: int) -> dict[str, Any]:
    """Return how the decision was made."""
    return {
        "promote": decision.promote,
        "reason": decision.reason,
        "against": incumbent,
        "images": compared,
        "difference": rounded(decision.difference),
        "noise": rounded(decision.noise),
    }


def epoch(one: EpochReport) -> dict[str, Any]:
    """Return what a running job tells of an epoch."""
    values = {
        "loss": one.loss,
        "accuracy": one.accuracy,
        "validation_loss": one.validation_loss,
        "validation_accuracy": one.validation_accuracy,
    }
    return {"epoch": one.epoch} | {name: rounded(value) for name, value in values.items() if value is not None}


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held, 10^6 bytes; None where the kernel does not tell.

    Not getrusage's ru_maxrss: that begins with what the parent held when it started this process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Round for reading; None, NaN and infinities become None, which JSON has."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), digits)
