"""What a training tells of itself: its results as the parts of a `contract.reports.TrainingReport`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.contract import reports

if TYPE_CHECKING:
    from edged.learning.acceptance import Acceptance
    from edged.learning.calibration import Calibration, Quality
    from edged.learning.dataset import Examples
    from edged.learning.evaluation import Evaluation
    from edged.learning.learning_curve import CurvePoint, LearningCurve
    from edged.learning.softmax_regression import EpochReport, Fitted
    from edged.types import Vector
    from edged.vision.familiarity import Familiarity

MOST_CONFUSED = 10
WORST = 10
MOST_DOUBTFUL = 20
MOST_SKIPPED = 200
MOST_LABELS = 30
MOST_EPOCHS = 40
"""The longest that these lists of a report become: the report is published as one message."""


def training(fitted: Fitted) -> reports.HeadTraining:
    """Return how the training of the head went."""
    best = fitted.history[fitted.best_epoch - 1] if fitted.best_epoch else fitted.history[-1]
    return reports.HeadTraining(
        epochs=fitted.epochs_run,
        best_epoch=fitted.best_epoch,
        cuts=fitted.cuts,
        stopped=fitted.stopped,
        loss=rounded(best.loss),
        validation_loss=rounded(best.validation_loss),
        history=_history(fitted),
    )


def _history(fitted: Fitted) -> reports.TrainingHistory:
    """Return loss and accuracy of the epochs: the first, the last, the best one, and others evenly between them."""
    history = fitted.history
    spread = np.linspace(0, len(history) - 1, min(len(history), MOST_EPOCHS)).round().astype(int).tolist()
    best = [fitted.best_epoch - 1] if fitted.best_epoch else []
    told = [history[at] for at in sorted({*spread, *best})]
    columns = {
        name: tuple(rounded(getattr(one, name)) for one in told)
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy")
    }
    measured = {name: column for name, column in columns.items() if any(value is not None for value in column)}
    return reports.TrainingHistory.model_validate({"epoch": tuple(one.epoch for one in told), **measured})


def classes(evaluation: Evaluation, labels: Sequence[str]) -> dict[str, reports.ClassAccuracy]:
    """Return label → images, precision and recall on the test side."""
    return {
        label: reports.ClassAccuracy(images=one.images, precision=rounded(one.precision), recall=rounded(one.recall))
        for label, one in zip(labels, evaluation.classes, strict=True)
    }


def confused(evaluation: Evaluation, labels: Sequence[str]) -> tuple[reports.ConfusedPair, ...]:
    """Return the most confused pairs of labels."""
    return tuple(
        reports.ConfusedPair(label=labels[pair.label], predicted=labels[pair.predicted], count=pair.count)
        for pair in evaluation.confusions[:MOST_CONFUSED]
    )


def confusion(evaluation: Evaluation, labels: Sequence[str]) -> reports.ConfusionMatrix | None:
    """Return all confusions; None with more labels than can be read, and sent."""
    if len(labels) > MOST_LABELS:
        return None
    counts = tuple(tuple(int(count) for count in row) for row in evaluation.matrix)
    return reports.ConfusionMatrix(labels=tuple(labels), counts=counts)


def worst(
    evaluation: Evaluation, examples: Examples, scores: Vector, labels: Sequence[str]
) -> tuple[reports.WorstImage, ...]:
    """Return the test images that are furthest from their label: mislabeled, or worth more images like them."""
    return tuple(
        reports.WorstImage(
            id=examples.images[index].id,
            file=examples.images[index].path.name,
            label=labels[int(examples.labels[index])],
            predicted=labels[int(scores[index].argmax())],
            score=rounded(float(scores[index, examples.labels[index]])),
        )
        for index in evaluation.worst[:WORST]
    )


def doubtful(labels: reports.DoubtfulLabels) -> reports.DoubtfulLabels:
    """Return the labels that look wrong, the most doubtful ones."""
    return labels.model_copy(update={"images": labels.images[:MOST_DOUBTFUL]})


def curve(learned: LearningCurve, labels: Sequence[str]) -> reports.LearningCurve:
    """Return accuracy at a quarter, half, three quarters and all of the training images, and the outlook."""
    told = reports.LearningCurve(
        points=tuple(_curve_point(point) for point in learned.points),
        gain_per_100=rounded(learned.gain_per_100, 5),
    )
    each = [(label, one) for label, one in zip(labels, learned.classes, strict=False) if one is not None]
    most = {label for label, _ in sorted(each, key=lambda item: -(item[1].gain_per_100 or 0.0))[:MOST_LABELS]}
    if not most:
        return told
    told_each = {
        label: reports.ClassCurve(
            recall=tuple(round(share, 4) for share in one.recall), gain_per_100=rounded(one.gain_per_100, 5)
        )
        for label, one in each
        if label in most
    }
    return told.model_copy(update={"classes": told_each})


def _curve_point(point: CurvePoint) -> reports.CurvePoint:
    told = reports.CurvePoint(images=point.images, accuracy=rounded(point.accuracy))
    return told.model_copy(update={"taken_over": True}) if point.taken_over else told


def accuracy(
    quantized: Evaluation, head: Evaluation, validation: Evaluation | None, accepted: Acceptance
) -> reports.Accuracy:
    """Return how good the new model, its head before quantization and the model that answers now are.

    Args:
        quantized: The exported model on the test images.
        head: Its head before quantization on the test images.
        validation: The head that was made of the training side alone on the validation images; None: none was made.
        accepted: How the new model was judged.
    """
    told = reports.Accuracy(
        float=rounded(head.accuracy),
        quantized=rounded(quantized.accuracy),
        cross_validated=rounded(accepted.accuracy),
    )
    if validation is not None and validation.accuracy is not None:
        told = told.model_copy(update={"validation": rounded(validation.accuracy)})
    if accepted.against is not None:
        told = told.model_copy(update={"previous": rounded(accepted.previous)})
    return told


def decision(accepted: Acceptance, *, accept: bool) -> reports.Decision:
    """Return how the gate decided, and against which model; None: there is none to compare with.

    Args:
        accepted: How the new model was judged.
        accept: Whether a person promotes it where the gate cannot tell.
    """
    verdict, difference = accepted.verdict, accepted.verdict.difference
    told = reports.Decision(
        verdict=verdict.verdict,
        promote=verdict.verdict == "promoted" or (accept and verdict.verdict == "undecided"),
        reason=verdict.reason,
        against=accepted.against,
        images=0 if difference is None else difference.images,
        difference=None if difference is None else rounded(difference.mean),
        low=None if difference is None else rounded(difference.low),
        high=None if difference is None else rounded(difference.high),
        made_again=accepted.made_again,
    )
    more: dict[str, Any] = {}
    if verdict.verdict == "undecided":
        more |= {"more_images": verdict.more_images, "accepted": accept}
    if verdict.fallen:
        more["fallen"] = {label: rounded(fall) for label, fall in verdict.fallen}
    if accepted.renamed:
        more["renamed"] = dict(accepted.renamed)
    return told.model_copy(update=more)


def calibration(found: Calibration) -> reports.Calibration:
    """Return the temperature, what scores are worth before and after, and their reliability."""
    return reports.Calibration(
        temperature=rounded(found.temperature, 6),
        images=found.images,
        before=_quality(found.before),
        after=_quality(found.after),
        constant=_quality(found.constant),
        bins=tuple(
            reports.ReliabilityBin(images=one.images, score=rounded(one.score), accuracy=rounded(one.accuracy))
            for one in found.bins
        ),
    )


def with_what_is_known(
    told: reports.TrainingReport,
    calibrated: Calibration | None,
    known: Familiarity | None,
    choice: reports.BackboneChoice | None,
) -> reports.TrainingReport:
    """Return the report with what not every training can tell; the rest stays absent."""
    more: dict[str, Any] = {}
    if calibrated is not None:
        more["calibration"] = calibration(calibrated)
    if known is not None:
        more["familiarity"] = reports.TaughtExamples(exemplars=len(known.exemplars), held_out=len(known.held_out))
    if choice is not None:
        more["choice"] = choice
    return told.model_copy(update=more)


def _quality(one: Quality) -> reports.ScoreQuality:
    return reports.ScoreQuality(
        error=rounded(one.error), chance=rounded(one.chance), brier=rounded(one.brier), log_loss=rounded(one.log_loss)
    )


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
