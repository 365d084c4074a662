"""How good a model is on labeled images: accuracy, precision and recall of each class, confusions. Pure numpy.

Whether it is good enough to answer is decided in `gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassReport:
    """How good a model is on one class.

    Attributes:
        images: Number of images with this label.
        precision: The share of right ones among the images predicted as this class; None where there are none.
        recall: The share of this class's images that were predicted as it; None where there are none.
    """

    images: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` images of class `label` were predicted as class `predicted`."""

    label: int
    predicted: int
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model's scores are worth.

    Attributes:
        accuracy: The share of right predictions, 0..1; None without images.
        classes: One report per class.
        matrix: (classes, classes), images of each class (row) by the class that was predicted (column).
        confusions: Pairs of classes, most confused first.
        worst: Indices of the wrongly predicted images, lowest score of the true class first.
        correct: (n,) bool, per image.
    """

    accuracy: float | None
    classes: tuple[ClassReport, ...]
    matrix: NDArray[np.intp]
    confusions: tuple[Confusion, ...]
    worst: tuple[int, ...]
    correct: NDArray[np.bool_]


def evaluate(scores: NDArray[np.float32], labels: NDArray[np.integer[Any]], *, worst: int = 10) -> Evaluation:
    """Compare predictions with labels.

    Args:
        scores: (n, classes); the prediction is the first of the greatest.
        labels: (n,) integers 0..classes − 1.
        worst: At most so many of the worst images are named.
    """
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    matrix = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right, of_class, as_class = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    correct = predicted == labels
    off = matrix - np.diag(right)
    pairs = sorted(zip(*np.nonzero(off), strict=True), key=lambda pair: (-off[pair], pair))
    true_scores = scores[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(~correct)
    return Evaluation(
        accuracy=float(correct.mean()) if len(labels) else None,
        classes=tuple(
            ClassReport(
                images=int(of_class[k]),
                precision=float(right[k] / as_class[k]) if as_class[k] else None,
                recall=float(right[k] / of_class[k]) if of_class[k] else None,
            )
            for k in range(classes)
        ),
        matrix=matrix,
        confusions=tuple(Confusion(int(label), int(other), int(off[label, other])) for label, other in pairs),
        worst=tuple(int(index) for index in wrong[np.argsort(true_scores[wrong], kind="stable")][:worst]),
        correct=correct,
    )
