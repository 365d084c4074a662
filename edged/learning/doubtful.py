"""Labels that look wrong: what each image looks like to all others, and how likely its label is wrong. Pure numpy.

Every image is judged by a classifier that was made of all images but it and its near duplicates. That is kernel ridge
regression, which gives all of these classifiers with one factorisation of a matrix. Then two numbers are fitted to what
they say: how much their scores mean, and the share of wrong labels. They turn a score into a probability, so that a set
without wrong labels has few doubtful images, however hard its labels are to tell apart.

A mistake that is made for many alike images at once (a folder of sunflowers as roses) is not found: they judge each
other, and only the images themselves could tell which side is wrong. To judge whole clusters by the others was tried:
it finds about half of such blocks, and as many right clusters, which the wrong block has made look wrong.

It finds more of the labels that were changed on photos than heads of `comparison` do, than nearest neighbours, and than
confident learning (Northcutt, Jiang, Chuang 2021) with such heads: `tools/bench doubtful`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.learning.comparison import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.vision.quantization import Affine

NAMED = 0.5
"""An image is named if its label is more likely wrong than right."""
MOST_AT_ONCE = 2500
"""More images are divided into parts, each judged by itself: the matrix would need the memory that a camera needs."""
QUICKLY = 1000
"""The same for a training, which must not wait for this: the time grows with the square of a part. Parts find somewhat
fewer of the wrong labels; `edgectl images doubtful` looks at more at once."""
_WIDTH = 0.7
"""Of the Gaussian: its squared distances count in units of the typical one times this."""
_RIDGE = 0.6
"""Weight of the classifier's norm beside an image's squared error. This and the width are chosen on the photos of the
develop side; a factor of two of either changes the share of wrong labels that are found by less than a point."""
_GREATEST_WEIGHT = 20.0
"""Of an image of a rare label, so that single precision is enough."""
_GREATEST_SHARE = 0.3
"""Of wrong labels: where labels are hard to tell apart at all, more of them would only seem to be wrong."""
_SCALES = np.geomspace(0.1, 100.0, 61)
_STRIDE = 4
"""Every fourth scale is tried first, and then those around the best of them."""
_ROUNDS = 60
_ROWS_OF_MEDIAN = 250
_SMALL_TRIANGLE = 64
_HALF = 0.5
"""Images of either kind that are taken to have been seen before any: the share is never quite 0 (Jeffreys)."""


@dataclass(frozen=True)
class Doubts:
    """What is doubtful about n labels.

    Attributes:
        wrong: (n,) float64: the probability that the label is wrong, 0..1; 0 of those that are known to be right.
        looks_like: (n,) index of the label that the image looks like most, other than its own.
        odds: (n, classes) float64: probability of each label if one of them is right, rows add up to 1.
        share: Share of wrong labels, estimated, 0..1.
    """

    wrong: NDArray[np.float64]
    looks_like: NDArray[np.intp]
    odds: NDArray[np.float64]
    share: float

    def ranked(self) -> NDArray[np.intp]:
        """Return the numbers of all images, the most doubtful first."""
        return np.argsort(-self.wrong, kind="stable")

    @property
    def named(self) -> int:
        """How many labels are more likely wrong than right."""
        return int(np.count_nonzero(self.wrong > NAMED))


def judge_each(
    features: NDArray[np.uint8] | NDArray[np.int8],
    labels: NDArray[np.integer[Any]],
    groups: Sequence[str],
    *,
    classes: int,
    affine: Affine,
    at_once: int = MOST_AT_ONCE,
) -> NDArray[np.float32]:
    """Return how much each image looks like each label, as a classifier says that was not made of it.

    One-against-all kernel ridge regression, each label with the same weight: α = (K + λ W⁻¹)⁻¹ (Y − mean). Without the
    images of a group the residuals of the group are ((K + λ W⁻¹)⁻¹ of the group)⁻¹ α of the group (R. Rifkin, R.
    Lippert, "Notes on regularized least squares", MIT-CSAIL-TR-2007-025, there for groups of one).

    Args:
        features: (n, d) bytes of bottlenecks.
        labels: (n,) 0..classes − 1.
        groups: n ids, sha256 as 64 hex digits; near duplicates have the same one, and do not judge each other.
        classes: Number of labels.
        affine: Scale and zero point of the bytes.
        at_once: More images than this are judged in parts.

    Returns:
        (n, classes): about 1 for a label that an image surely has, about 0 for others.
    """
    points = _on_sphere(affine.dequantize(features))
    ids = np.unique(np.array(groups, object), return_inverse=True)[1]
    parts = -(-len(labels) // at_once)
    part = (places(groups, 1) * parts).astype(np.intp)
    scores = np.zeros((len(labels), classes), np.float32)
    for number in range(parts):
        own = np.flatnonzero(part == number)
        if len(own):
            scores[own] = _judge_part(points[own], labels[own], ids[own], classes)
    return scores


def _on_sphere(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features as points at the distance 1: their square roots, so that a few strong ones do not decide."""
    roots = np.sign(features) * np.sqrt(np.abs(features))
    return np.asarray(roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-9), np.float32)


def _judge_part(
    points: NDArray[np.float32], labels: NDArray[np.integer[Any]], ids: NDArray[np.intp], classes: int
) -> NDArray[np.float32]:
    count = len(labels)
    matrix = points @ points.T
    np.clip(2 - 2 * matrix, 0, None, out=matrix)  # squared distances
    typical = _typical(matrix) if count > 1 else 0.0
    np.exp(matrix * (-1 / (_WIDTH * typical if typical > 0 else 1.0)), out=matrix)
    of_label = np.bincount(labels)
    weights = np.minimum(count / (np.count_nonzero(of_label) * np.maximum(of_label, 1)), _GREATEST_WEIGHT)[labels]
    matrix[np.diag_indices(count)] += (_RIDGE / weights).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[labels]
    mean = (weights @ targets / weights.sum()).astype(np.float32)
    # The inverse is FᵀF for the inverse F of the Cholesky factor, and only a few of its entries are needed.
    factor = _inverse_of_triangle(np.linalg.cholesky(matrix))
    alpha = factor.T @ (factor @ (targets - mean))
    residuals = alpha / np.einsum("ij,ij->j", factor, factor)[:, np.newaxis]
    for group in np.flatnonzero(np.bincount(ids) > 1):
        members = np.flatnonzero(ids == group)
        own = factor[:, members]
        residuals[members] = np.linalg.solve(own.T @ own, alpha[members])
    return np.asarray(targets - residuals, np.float32)


def _typical(squared: NDArray[np.float32]) -> float:
    """Return the median of squared distances (n, n) between different images; of many, of some rows."""
    rows = np.arange(0, len(squared), max(1, len(squared) // _ROWS_OF_MEDIAN))
    some, other = squared[rows], np.ones((len(rows), len(squared)), bool)
    other[np.arange(len(rows)), rows] = False
    return float(np.median(some[other]))


def _inverse_of_triangle(lower: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inverse of a lower triangular matrix, by halves: nearly all of the work is multiplying matrices."""
    half = len(lower) // 2
    if len(lower) <= _SMALL_TRIANGLE:
        return np.asarray(np.linalg.inv(lower), np.float32)
    inverse = np.zeros_like(lower)
    inverse[:half, :half] = _inverse_of_triangle(lower[:half, :half])
    inverse[half:, half:] = _inverse_of_triangle(lower[half:, half:])
    inverse[half:, :half] = -(inverse[half:, half:] @ lower[half:, :half]) @ inverse[:half, :half]
    return inverse


def doubt(
    scores: NDArray[np.float32], labels: NDArray[np.integer[Any]], right: NDArray[np.bool_] | None = None
) -> Doubts:
    """Return how likely each label is wrong, and what its image looks like.

    A label is drawn by softmax(scale · scores), or with the probability `share` any other label is. Scale and share are
    those that make the labels most likely, by expectation maximisation for each scale. Hard labels lead to a small
    scale, wrong ones to a large share: a wrong label is one that the scores rule out.

    Args:
        scores: (n, classes) of `judge_each`.
        labels: (n,) indices, two classes at least.
        right: (n,) those that a person has looked at and found right; None: none.
    """
    count, classes = scores.shape
    rows = np.arange(count)
    unsure = np.ones(count, bool) if right is None else ~right

    def likelihood(place: int) -> float:
        return _fit_share(_softmax(_SCALES[place] * scores), labels, unsure)[0]

    likely = {place: likelihood(place) for place in range(0, len(_SCALES), _STRIDE)}
    around = max(likely, key=likely.__getitem__)
    near = range(max(0, around - _STRIDE + 1), min(len(_SCALES), around + _STRIDE))
    likely |= {place: likelihood(place) for place in near if place != around}
    odds = _softmax(_SCALES[max(likely, key=likely.__getitem__)] * scores)
    share = _fit_share(odds, labels, unsure)[1]
    own = odds[rows, labels]
    wrong = np.where(unsure, _wrong(own, share, classes), 0.0)
    others = odds.copy()
    others[rows, labels] = -1.0
    return Doubts(wrong, others.argmax(axis=1), odds, share)


def _fit_share(
    odds: NDArray[np.float64], labels: NDArray[np.integer[Any]], unsure: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the log-likelihood of the labels, and the share of wrong ones."""
    count, classes = odds.shape
    own = odds[np.arange(count), labels]
    share = 0.05
    for _ in range(_ROUNDS):  # what is known to be right is not wrong, but how it looks says nothing of the others
        share = min((_wrong(own[unsure], share, classes).sum() + _HALF) / (count + 2 * _HALF), _GREATEST_SHARE)
    mixed = (1 - share) * own[unsure] + share * (1 - own[unsure]) / (classes - 1)
    told = np.log(np.maximum(mixed, 1e-300)).sum() + _HALF * np.log(share * (1 - share))
    return float(told), float(share)


def likely_wrong(odds: NDArray[np.float64], labels: NDArray[np.integer[Any]], share: float) -> NDArray[np.float64]:
    """Return the probability that labels (n,) are wrong, by what their images look like and how many are.

    Args:
        odds: (n, classes) as `Doubts.odds`.
        labels: (n,) indices.
        share: Share of wrong labels.
    """
    return _wrong(odds[np.arange(len(labels)), labels], share, odds.shape[1])


def _wrong(own: NDArray[np.float64], share: float, classes: int) -> NDArray[np.float64]:
    """Return the probability that labels are wrong whose odds are `own`."""
    wrong = share * (1 - own) / (classes - 1)
    return np.asarray(wrong / np.maximum((1 - share) * own + wrong, 1e-300))


def _softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Contradiction:
    """An image that shows nearly the same as others under another label.

    Attributes:
        image: Its number.
        looks_like: The label of these others, which is more likely the right one.
        near: Their numbers.
    """

    image: int
    looks_like: int
    near: tuple[int, ...]


def contradictions(
    labels: NDArray[np.integer[Any]], groups: Sequence[str], odds: NDArray[np.float64], right: NDArray[np.bool_]
) -> list[Contradiction]:
    """Return the images whose near duplicates have another label that is more likely right.

    Args:
        labels: (n,) indices.
        groups: n ids; near duplicates have the same one.
        odds: (n, labels) of `Doubts.odds`; zeros for an image or a label that was not judged.
        right: (n,) those that a person has looked at and found right; their label is that of the group.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    found = []
    for group_ in members.values():
        given = labels[group_]
        if len(np.unique(given)) < 2:
            continue
        sure = {int(labels[number]) for number in group_ if right[number]}
        likely = odds[group_].mean(axis=0)
        among = sure or {int(label) for label in given}
        best = max(sorted(among), key=lambda label: (likely[label], np.count_nonzero(given == label)))
        for number in group_:
            if not right[number] and int(labels[number]) not in (sure or {best}):
                near = tuple(other for other in group_ if labels[other] == best)
                found.append(Contradiction(number, best, near))
    return found
