"""How sure the networks that have run so far are: pooled scores, and the numbers a stop decision looks at. Pure numpy.

All functions take a batch: photos along the first axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    """(photos, classes) or (photos, features)."""

FLOOR = 1 / 512
"""Half a step of an 8-bit score: what a score of zero may stand for."""
_BEST = 5


def pool(scores: Sequence[Matrix], weights: Sequence[float]) -> Matrix:
    """Combine networks by a logarithmic opinion pool: p ∝ Π pₙ^wₙ (Genest and Zidek 1986).

    Args:
        scores: One (photos, classes) per network, probabilities.
        weights: One per network, at least 0.

    Returns:
        (photos, classes) float32 probabilities.
    """
    if len(scores) == 1:
        return scores[0]
    terms = (np.float32(w) * np.log(np.maximum(s, FLOOR)) for s, w in zip(scores, weights, strict=True) if w)
    logits = np.sum(list(terms), axis=0)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def margin(scores: Matrix) -> NDArray[np.float32]:
    """Return the best score less the second best, (photos,); 1 where there is one class only."""
    if scores.shape[1] < 2:
        return np.ones(len(scores), np.float32)
    best = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0], np.float32)


def confidence(scores: Matrix) -> Matrix:
    """Return six measures of one distribution, (photos, 6).

    The best score, its log-odds, its log-ratio to the second, the margin, the entropy in nats, and the sum of the five
    best scores.
    """
    k = min(_BEST, scores.shape[1])
    best = -np.sort(-np.partition(scores, -k, axis=1)[:, -k:], axis=1)
    first = best[:, 0]
    second = best[:, 1] if k > 1 else np.zeros_like(first)
    certain = np.maximum(scores, 1e-6)
    return np.stack(
        [
            first,
            np.log((first + FLOOR) / (1 - first + FLOOR)),
            np.log((first + FLOOR) / (second + FLOOR)),
            first - second,
            -(certain * np.log(certain)).sum(axis=1),
            best.sum(axis=1),
        ],
        axis=1,
        dtype=np.float32,
    )


def evidence(scores: Sequence[Matrix], pooled: Matrix) -> Matrix:
    """Return everything that a learned stop decision looks at after these networks have run.

    Args:
        scores: One (photos, classes) per network run so far.
        pooled: Their combination.

    Returns:
        (photos, n) float32: `confidence` of each network; with two networks or more also that of the combination, for
        each network whether it agrees with the combination and its log-score for the combination's class, and for each
        pair whether they agree and the overlap Σ pᵢqᵢ.
    """
    columns = [confidence(each) for each in scores]
    if len(scores) > 1:
        columns.append(confidence(pooled))
        answer = pooled.argmax(axis=1)
        rows = np.arange(len(answer))
        answers = [each.argmax(axis=1) for each in scores]
        for own, each in zip(answers, scores, strict=True):
            columns.append(np.stack([own == answer, np.log(each[rows, answer] + FLOOR)], axis=1))
        for (a, p), (b, q) in itertools.combinations(zip(answers, scores, strict=True), 2):
            columns.append(np.stack([a == b, np.einsum("ij,ij->i", p, q)], axis=1))
    return np.concatenate(columns, axis=1, dtype=np.float32)
