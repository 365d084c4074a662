"""Thresholds of a cascade from what was measured: the most accurate ones for a given mean time. Pure numpy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRID = {1: 200, 2: 32, 3: 14}
"""Number of stages that decide → thresholds tried for each."""


def outcomes(
    doubts: Sequence[NDArray[np.float32]],
    right: Sequence[NDArray[np.bool_]],
    costs_ms: Sequence[float],
    thresholds: Sequence[float],
) -> tuple[float, float]:
    """Return top-1 accuracy and mean milliseconds of a cascade with these thresholds.

    Args:
        doubts: Per deciding stage, (photos,).
        right: Per stage whether its answer is right, (photos,).
        costs_ms: Per stage what it adds.
        thresholds: Per deciding stage; the next network runs where the doubt is greater.
    """
    going = np.ones(len(right[0]), bool)
    correct = right[0].copy()
    mean_ms = costs_ms[0]
    for doubt, threshold, now, cost in zip(doubts, thresholds, right[1:], costs_ms[1:], strict=True):
        going &= doubt > threshold
        correct[going] = now[going]
        mean_ms += cost * float(going.mean())
    return float(correct.mean()), float(mean_ms)


def correct(
    doubts: Sequence[NDArray[np.float32]], right: Sequence[NDArray[np.bool_]], thresholds: Sequence[float]
) -> NDArray[np.bool_]:
    """Return for each photo whether a cascade with these thresholds answers right, (photos,); as in `outcomes`."""
    going = np.ones(len(right[0]), bool)
    answers = right[0].copy()
    for doubt, threshold, now in zip(doubts, thresholds, right[1:], strict=True):
        going &= doubt > threshold
        answers[going] = now[going]
    return answers


def search(
    doubts: Sequence[NDArray[np.float32]],
    right: Sequence[NDArray[np.bool_]],
    costs_ms: Sequence[float],
    budgets_ms: Sequence[float],
) -> list[tuple[float, ...]]:
    """Return, for each budget, the thresholds with the highest accuracy among those that keep to it.

    Thresholds are tried on a grid of quantiles of the doubt. Where a budget is too small for the first network alone,
    its thresholds never ask another one. Of equally accurate thresholds the cheapest win.
    """
    if not doubts:
        return [() for _ in budgets_ms]
    size = _GRID.get(len(doubts), 8)
    grids = [np.append(np.unique(np.quantile(doubt, np.linspace(0, 1, size))), np.inf) for doubt in doubts]
    grids = [np.insert(grid, 0, -1.0) for grid in grids]
    tried = [(outcomes(doubts, right, costs_ms, each), each) for each in itertools.product(*grids)]
    never = tuple(np.inf for _ in doubts)
    best = []
    for budget in budgets_ms:
        within = [(top1, -mean_ms, each) for (top1, mean_ms), each in tried if mean_ms <= budget]
        best.append(tuple(map(float, max(within)[2])) if within else never)
    return best
