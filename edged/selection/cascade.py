"""A cascade: networks from cheap to dear, and after each one the decision whether its answer will do. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.selection.confidence import evidence, margin, pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.selection.confidence import Matrix


@dataclass(frozen=True, eq=False)
class Doubt:
    """Logistic regression of "the answer so far is wrong" on `confidence.evidence`.

    Attributes:
        mean, scale: (n,) of the evidence in training, for normalisation.
        weights: (n,).
        bias: Log-odds at the mean.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float

    def __call__(self, looked_at: Matrix) -> NDArray[np.float32]:
        """Return the probability (photos,) of a wrong answer."""
        logit = ((looked_at - self.mean) / self.scale) @ self.weights + np.float32(self.bias)
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))), np.float32)


@dataclass(frozen=True, eq=False)
class Stage:
    """One network of the cascade.

    Attributes:
        network: Index into the pool.
        weights: How the networks run so far are pooled, this one last; all 0 but the last: this one answers alone.
        doubt: None: one minus the margin of the answer stands for it.
    """

    network: int
    weights: tuple[float, ...]
    doubt: Doubt | None = None

    def answer(self, scores: Sequence[Matrix]) -> Matrix:
        """Return the answer (photos, classes) of the networks run so far."""
        return pool(scores, self.weights) if any(self.weights[:-1]) else scores[-1]

    def doubts(self, scores: Sequence[Matrix], answer: Matrix) -> NDArray[np.float32]:
        """Return how likely the answer is wrong, (photos,), 0..1."""
        return 1 - margin(answer) if self.doubt is None else self.doubt(evidence(scores, answer))


@dataclass(frozen=True, eq=False)
class Cascade:
    """Stages, and for each operating point the doubt above which the next network is asked.

    Attributes:
        stages: Cheapest first.
        thresholds: Per operating point one number for each stage but the last, from the cheapest point to the dearest.
        default: The operating point to run at: the cheapest one that was, in the fit, more accurate than the best
            single network by one standard error; where there is none, the most accurate one.
    """

    stages: tuple[Stage, ...]
    thresholds: tuple[tuple[float, ...], ...]
    default: int

    def classify(self, run: Callable[[int], NDArray[np.float32]], point: int) -> tuple[NDArray[np.float32], int]:
        """Classify one frame.

        Args:
            run: Runs a network of the pool and returns its scores (classes,).
            point: Which operating point.

        Returns:
            The scores (classes,), and the index of the last network run, the one that answered.
        """
        scores: list[Matrix] = []
        for stage, threshold in zip(self.stages, (*self.thresholds[point], np.inf), strict=True):
            scores.append(run(stage.network)[np.newaxis])
            answer = stage.answer(scores)
            if not np.isfinite(threshold) or stage.doubts(scores, answer)[0] <= threshold:
                break
        return answer[0], stage.network
