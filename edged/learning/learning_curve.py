"""What more labeled images would bring: accuracy and recall at 25, 50, 75 and 100 % of the training images.

Pure numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.hyperparameters import Hyperparameters
from edged.learning.softmax_regression import Fitted, fit
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edged.learning.softmax_regression import Features, Labels

_FRACTIONS = (0.25, 0.5, 0.75)
_LEAST_TEST_IMAGES = 30
"""On fewer the points of the curve differ by chance by ten points and more, and say nothing of what is to come. A
class's recall needs as many of that class."""
_SAME = 0.02
"""So many more training images, as a share, leave the curve as it is, but for its last point: with error = a ·
images^−¼, as flower photos have it, they lower an error of 10 % by 0.05 points."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Test accuracy of the head before quantization, 0..1, after training on `images` images.

    Attributes:
        taken_over: Whether it was measured for an earlier model, on the test images of then.
        recalls: For each class the share of its test images that the head names; None where that is not known.
            Empty where no class's is.
    """

    images: int
    accuracy: float
    taken_over: bool = False
    recalls: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """Recall of one class at each point, and what 100 more training images, of all classes as now, would add to it."""

    recall: tuple[float, ...]
    gain_per_100: float | None


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Accuracy against training images.

    Attributes:
        points: From few images to all.
        gain_per_100: What 100 more training images would likely add to the accuracy, 0..1; None where there are
            too few points, or too few test images, for an estimate. By a power law, error = a · images^−b, least
            squares over the logarithms (Hestness et al. 2017, "Deep learning scaling is predictable, empirically");
            never negative.
        classes: For each class the same of its recall; None where too few test images are of it, or some point does not
            know it.
    """

    points: tuple[CurvePoint, ...]
    gain_per_100: float | None
    classes: tuple[ClassCurve | None, ...] = ()


def learning_curve(
    features: Features,
    labels: Labels,
    test: tuple[Features, Labels],
    *,
    classes: int,
    full: Fitted,
    affine: Affine,
    validation: tuple[Features, Labels] | None = None,
    hyperparameters: Hyperparameters | None = None,
    earlier: Sequence[CurvePoint] = (),
) -> LearningCurve:
    """Train on nested, stratified parts of the training images and measure each head on the test images.

    Args:
        features: Features of the training images, as for `fit`.
        labels: (n,) their labels, 0..classes − 1.
        test: Features and labels of images that no training saw.
        classes: Number of classes.
        full: The head that was trained on all training images, which gives the last point.
        affine: Scale and zero point of the features' bytes.
        validation: Features and labels that choose the epoch, as for `fit`.
        hyperparameters: How to train, as for `fit`; their seed also chooses the parts.
        earlier: Points of an earlier curve of some of these images, or of all, with the same labels and made in the
            same way: where that were nearly as many, the last one alone is made anew.
    """
    hyperparameters = hyperparameters or Hyperparameters()
    rank = stratified_rank(labels, hyperparameters.seed)
    points = _still_true(earlier, int(np.count_nonzero(rank < _FRACTIONS[-1])))
    for fraction in () if points else _FRACTIONS:
        part = np.flatnonzero(rank < fraction)  # at least one image of each class: its first one's rank is 0
        head = fit(
            features[part],
            labels[part],
            classes=classes,
            affine=affine,
            validation=validation,
            hyperparameters=hyperparameters,
        )
        points.append(_measured(len(part), head, test, affine))
    points.append(_measured(len(labels), full, test, affine))
    tested = np.bincount(test[1], minlength=classes)
    each = tuple(_class_curve(points, k, int(tested[k])) for k in range(classes))
    return LearningCurve(tuple(points), _gain_per_100(points, len(test[1])), each)


def _still_true(earlier: Sequence[CurvePoint], largest_part: int) -> list[CurvePoint]:
    """Return all but the last point of an earlier curve, marked as such; none where it is not of nearly as many images.

    Its last point's images do not tell: that one may itself have been added to a curve of fewer.

    Args:
        earlier: Its points.
        largest_part: Images of the last but one point now.
    """
    if len(earlier) != len(_FRACTIONS) + 1 or not all(math.isfinite(point.accuracy) for point in earlier):
        return []
    then = earlier[-2].images
    if abs(largest_part - then) > _SAME * then:
        return []
    return [replace(point, taken_over=True) for point in earlier[:-1]]


def stratified_rank(labels: Labels, seed: int) -> NDArray[np.float64]:
    """Give each image a place 0 ≤ rank < 1 within its class, shuffled: `rank < f` is a stratified part, nested in f."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members)) / len(members)
    return rank


def _measured(images: int, head: Fitted, test: tuple[Features, Labels], affine: Affine) -> CurvePoint:
    """Return the point of a head that was trained on so many images."""
    features, labels = test
    if not len(labels):
        return CurvePoint(images, math.nan)
    plain = features[:, 0] if features.ndim == 3 else features
    right = head.logits(plain, affine).argmax(axis=1) == labels
    tested, found = (np.bincount(some, minlength=len(head.bias)) for some in (labels, labels[right]))
    recalls = tuple(float(hits / of) if of else None for hits, of in zip(found, tested, strict=True))
    return CurvePoint(images, float(right.mean()), recalls=recalls)


def _class_curve(points: Sequence[CurvePoint], k: int, tested: int) -> ClassCurve | None:
    """Return the curve of class `k`, of which there are `tested` test images; None where it would say nothing."""
    recalls = [point.recalls[k] if point.recalls else None for point in points]
    known = [recall for recall in recalls if recall is not None]
    if tested < _LEAST_TEST_IMAGES or len(known) < len(points):
        return None
    of_class = [CurvePoint(point.images, recall) for point, recall in zip(points, known, strict=True)]
    return ClassCurve(tuple(known), _gain_per_100(of_class, tested))


def _gain_per_100(points: list[CurvePoint], test_images: int) -> float | None:
    if len(points) < 3 or test_images < _LEAST_TEST_IMAGES:
        return None
    images = np.array([point.images for point in points], np.float64)
    # No error at all on n test images still means something like half an error.
    errors = np.maximum([1 - point.accuracy for point in points], 0.5 / test_images)
    slope, offset = np.polyfit(np.log(images), np.log(errors), 1)
    now, then = (math.exp(offset + slope * math.log(count)) for count in (images[-1], images[-1] + 100))
    return max(0.0, now - then)
