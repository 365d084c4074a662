"""From a network's output bytes to labels: pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edged.types import LabelScore

if TYPE_CHECKING:
    from edged.types import Vector


def softmax(logits: Vector) -> Vector:
    """Return exp(x − max) / Σ over the last axis, float32; the shift keeps exp from overflowing."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def top_k(scores: Vector, labels: Sequence[str], k: int) -> list[LabelScore]:
    """Return the k best labels, best first; equal scores keep the order of the classes.

    Args:
        scores: (classes,) float32.
        labels: One per class.
        k: At least 1; more than there are classes gives all of them.
    """
    k = min(k, len(scores))
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    order = best[np.lexsort((best, -scores[best]))]
    return [LabelScore(labels[index], float(scores[index])) for index in order]
