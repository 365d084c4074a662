"""Scores that mean something: the temperature of a head's logits, and how far scores are from what they claim. Pure.

A score is calibrated where, of all images with the score 0.7, seven of ten are right. A head that was trained on few
images is not: its logits are too small or too great by a common factor, the temperature. It is found on images that a
head was not made of, see `comparison`; on those that it was made of, hardly any is wrong, and every score would be 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.comparison import Predictions

    Logits = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]
    Vector = NDArray[np.float64]
    Right = NDArray[np.bool_]

BINS = 15
"""Of equal width, over scores 0..1: the number with which Guo et al. have measured, and most who came after them."""
_HALF_AN_IMAGE = 0.5
"""So many images whose label is any, each with the same probability, are added to those that choose the temperature.
Where a head is right on all images, the likelihood alone would drive every score to 1."""
_FLATTEST = 0.1
"""The least that the mean distance of the best logit from the mean one may become: 8 bits must still tell the best
class of a head that knows nothing."""
_HALVINGS = 16
"""Of the bracket around 1 / T, which leaves five digits of it."""
_DRAWS = 100
"""How often labels are drawn to see what chance does, see `chance_error`."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Images with similar scores.

    Attributes:
        images: How many, at least 1.
        score: Their mean best score, 0..1.
        accuracy: The share of them whose best class is their label, 0..1.
    """

    images: int
    score: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What scores are worth as probabilities.

    Attributes:
        error: Expected calibration error, see `calibration_error`.
        chance: The error that exact scores would show on as many images, see `chance_error`.
        brier: Brier score of the best class, see `brier_score`.
        log_loss: Mean of −ln of the label's score.
    """

    error: float
    chance: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the scores of a new model were calibrated, and what that was good for: all of it on images left out.

    Attributes:
        temperature: What its logits are divided by.
        images: Number of images that were judged.
        before: The scores of its logits as they were trained.
        after: The scores with the temperature.
        constant: The accuracy as the score of every image: its error is 0, and it tells no image from another.
        bins: Reliability of the scores with the temperature, lowest scores first.
    """

    temperature: float
    images: int
    before: Quality
    after: Quality
    constant: Quality
    bins: tuple[Bin, ...]


def calibrate_scores(predictions: Predictions, labels: Labels) -> Calibration | None:
    """Find the temperature of a head by what others of its recipe say of images that they were not made of.

    Each of them is made of four fifths of the images, as the head itself is, whose test side is left out too: it is as
    sure of itself as they are. The first division alone counts, so that each image counts once, and the same images
    give the same temperature whether or not there is a model to compare with. That they both choose it and say what it
    is good for matters little for one number.

    Args:
        predictions: With logits (divisions, n, classes).
        labels: (n,) labels of the images.

    Returns:
        None: no image was judged.
    """
    judged = predictions.free[0] >= 0
    if predictions.logits is None or not judged.any():
        return None
    logits, own = predictions.logits[0, judged], labels[judged]
    found = temperature(logits, own)
    before, after = probabilities(logits), probabilities(logits, found)
    best, right = after.max(axis=1), after.argmax(axis=1) == own
    return Calibration(
        found, len(own), quality(before, own), quality(after, own), constant_quality(right, after.shape[1]),
        reliability(best, right),
    )  # fmt: skip


def temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T under which the softmax of logits / T is the likeliest to have drawn the labels.

    It minimises the negative log-likelihood (Guo et al. 2017, "On calibration of modern neural networks"), with the
    labels smoothed as if half an image of unknown label had been seen besides (after Platt 1999, "Probabilistic outputs
    for support vector machines": a Bayesian's estimate of the target). That is convex in 1 / T, so that the sign of its
    derivative tells on which side of a guess the best one lies.

    Args:
        logits: (m, classes) of images that the head was not made of.
        labels: (m,) their labels.

    Returns:
        T > 0; 1 where nothing tells: without images, or where all logits of each image are the same.
    """
    if not len(labels):
        return 1.0
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    smoothed = _HALF_AN_IMAGE / (len(labels) + _HALF_AN_IMAGE)
    own = shifted[np.arange(len(labels)), labels]
    target = float(((1 - smoothed) * own + smoothed * shifted.mean(axis=1)).sum())
    spread = float(-shifted.mean())
    if not spread > 0:
        return 1.0

    def too_small(inverse: float) -> bool:
        """Return whether the likelihood still rises with 1 / T."""
        powers = np.exp(inverse * shifted)
        powers /= powers.sum(axis=1, keepdims=True)
        return float((powers * shifted).sum()) < target

    low = high = _FLATTEST / spread
    while too_small(high):  # ends: for 1 / T → ∞ the sum comes near to 0, which the target is below
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return 2 / (low + high)


def probabilities(logits: Logits, divisor: float = 1.0) -> Vector:
    """Return the softmax (m, classes) of logits that are divided by a temperature."""
    scaled = logits.astype(np.float64) / divisor
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    scores: Vector = powers / powers.sum(axis=1, keepdims=True)
    return scores


def quality(scores: Vector, labels: Labels) -> Quality:
    """Return what scores (m, classes) of images with these labels (m,) are worth; there is at least one image."""
    best, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    return Quality(
        calibration_error(best, right), chance_error(best), brier_score(best, right), log_loss(scores, labels)
    )


def constant_quality(right: Right, classes: int) -> Quality:
    """Return what the accuracy is worth as the score of every image, the rest shared by the other classes.

    That is what a calibration error alone would call perfect.

    Args:
        right: (m,) which images are right, at least one.
        classes: Number of classes, at least 2.
    """
    accuracy = float(right.mean())
    wrong = 1 - accuracy
    score = np.full(len(right), accuracy)
    loss = 0.0
    if accuracy > 0:
        loss -= accuracy * float(np.log(accuracy))
    if wrong > 0:
        loss -= wrong * float(np.log(wrong / (classes - 1)))
    return Quality(calibration_error(score, right), chance_error(score), brier_score(score, right), loss)


def reliability(score: Vector, right: Right, *, bins: int = BINS) -> tuple[Bin, ...]:
    """Return the reliability diagram: images put into bins of equal width by their score, empty bins left out.

    Args:
        score: (m,) best score of each image, 0..1.
        right: (m,) whether its best class is its label.
        bins: Number of bins.
    """
    place = _places(score, bins)
    return tuple(
        Bin(int(inside.sum()), float(score[inside].mean()), float(right[inside].mean()))
        for number in range(bins)
        if (inside := place == number).any()
    )


def calibration_error(score: Vector, right: Right, *, bins: int = BINS) -> float:
    """Return the expected calibration error, 0..1: Σ images / m · |accuracy − mean score| over bins of equal width.

    After Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning". Of few
    images it is too great: also exact scores differ from the accuracy in a bin, by chance; see `chance_error`.

    Args:
        score: (m,) best score of each image, 0..1; there is at least one image.
        right: (m,) whether its best class is its label.
        bins: Number of bins.
    """
    sums = np.bincount(_places(score, bins), weights=score - right)
    return float(np.abs(sums).sum() / len(score))


def chance_error(score: Vector, *, bins: int = BINS) -> float:
    """Return the mean calibration error of exact scores: whether an image is right is drawn with its score.

    After Bröcker and Smith 2007, "Increasing the reliability of reliability diagrams" (consistency resampling). The
    same scores give the same number.

    Args:
        score: (m,) best score of each image, 0..1; there is at least one image.
        bins: Number of bins.
    """
    random = np.random.default_rng(0)
    place = _places(score, bins)
    errors = [
        np.abs(np.bincount(place, weights=score - (random.random(len(score)) < score))).sum() for _ in range(_DRAWS)
    ]
    return float(np.mean(errors) / len(score))


def squared_error(score: Vector, right: Right, *, bins: int = BINS) -> float:
    """Return an estimate of the mean squared calibration error without the share of chance; it may be negative.

    Over bins of equal size, each accuracy's variance taken off (Kumar, Liang and Ma 2019, "Verified uncertainty
    calibration"; Bröcker 2012). The root of its mean over many sets of images is no less than the expected calibration
    error over the same bins of any number of images.

    Args:
        score: (m,) best score of each image, 0..1; at least two for each bin.
        right: (m,) whether its best class is its label.
        bins: Number of bins.
    """
    found = 0.0
    for part in np.array_split(np.argsort(score, kind="stable"), bins):
        accuracy = float(right[part].mean())
        chance = accuracy * (1 - accuracy) / (len(part) - 1)
        found += len(part) / len(score) * ((float(score[part].mean()) - accuracy) ** 2 - chance)
    return found


def brier_score(score: Vector, right: Right) -> float:
    """Return the Brier score of the best class, 0..1: the mean of (score − right)² (Brier 1950).

    Unlike the calibration error it also counts whether scores tell images apart; lower is better.

    Args:
        score: (m,) best score of each image, 0..1; there is at least one image.
        right: (m,) whether its best class is its label.
    """
    return float(np.mean((score - right) ** 2))


def log_loss(scores: Vector, labels: Labels) -> float:
    """Return the mean of −ln of the label's score; a score of 0, as 8 bits write what is under 1/512, counts as 1/512.

    Args:
        scores: (m, classes) probabilities.
        labels: (m,) the labels.
    """
    return float(-np.log(np.maximum(scores[np.arange(len(labels)), labels], 1 / 512)).mean())


def _places(score: Vector, bins: int) -> NDArray[np.intp]:
    places: NDArray[np.intp] = np.minimum((score * bins).astype(np.intp), bins - 1)
    return places
