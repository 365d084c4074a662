"""How sure the networks that have run so far are: scores pooled, and the doubt that is left. Pure numpy.

All functions take a batch: photos along the first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    """(photos, classes)."""

FLOOR = 1e-4
"""What a score of zero stands for: 8-bit scores of a thousand classes lose about a tenth of the probability, spread
over the classes that have less than half a step."""


def pool(scores: Sequence[Matrix], weights: Sequence[float]) -> Matrix:
    """Combine networks by a logarithmic opinion pool: p ∝ Π pₙ^wₙ (Genest and Zidek 1986).

    With weights fitted by likelihood it is calibrated as well: the weight of a single network is the inverse of its
    temperature (Guo, Pleiss, Sun, Weinberger 2017).

    Args:
        scores: One (photos, classes) per network, probabilities.
        weights: One per network, at least 0; a network of weight 0 has no say.

    Returns:
        (photos, classes) float32 probabilities.
    """
    voices = [(np.float32(w), s) for w, s in zip(weights, scores, strict=True) if w]
    if len(voices) == 1 and voices[0][0] == 1:
        return voices[0][1]
    logits = np.sum([w * np.log(np.maximum(s, FLOOR)) for w, s in voices], axis=0)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def doubt(answer: Matrix) -> NDArray[np.float32]:
    """Return how likely the best class is wrong if the answer is calibrated, (photos,): 1 − its probability."""
    return np.asarray(1 - answer.max(axis=1), np.float32)
