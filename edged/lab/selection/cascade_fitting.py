"""Fits cascades to measurements: which networks, how they are pooled, when an answer will do. Pure numpy.

A cascade runs networks in turn, cheapest first. After each one it pools the scores so far, estimates the probability
that the answer is wrong (the doubt, a logistic regression), and stops where that is at most the stage's threshold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.lab.selection.measurements import folds
from edged.selection.cascade import Cascade, Doubt, Stage
from edged.selection.confidence import FLOOR, evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.selection.measurements import Measurements

LEVELS = (0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.65, 0.8)
"""Operating points of a cascade: budgets as shares of the most accurate single network's time."""
_JUDGED_AT = (0.25, 0.35, 0.5)
"""A choice of networks is judged by its mean accuracy at these shares."""
_MOST_NETWORKS = 4
_INNER_FOLDS = 5
_L2 = 0.01
"""Ridge of the doubt's logistic regression, on normalised evidence."""
_NEWTON_STEPS, _NEWTON_TOLERANCE = 8, 0.005
_POOLED_PHOTOS = 600
"""Pooling weights are fitted to at most so many photos: plenty for a handful of weights, more only take time."""
_LEAST_GAIN = 0.001
"""A longer cascade must be that much more accurate."""
_GRID = {1: 200, 2: 32, 3: 14}
"""Number of stages that decide → thresholds tried for each."""
_LOGISTIC_STEPS = 12


@dataclass(frozen=True, eq=False)
class _Trial:
    """A chain of networks as fitted, and what is expected of it on photos that it was not fitted to."""

    stages: tuple[Stage, ...]
    doubts: list[NDArray[np.float32]]
    right: list[NDArray[np.bool_]]
    costs_ms: list[float]

    def search(self, budgets_ms: Sequence[float]) -> list[tuple[float, ...]]:
        """Return the best thresholds for each budget."""
        return search(self.doubts, self.right, self.costs_ms, budgets_ms)


def fit_cascade(measured: Measurements, *, learned: bool, decision_ms: float, seed: int = 0) -> Cascade:
    """Choose networks and fit pooling, doubts and thresholds on these photos and nothing else.

    The last network is the most accurate one. The ones before it are chosen greedily: the one that most improves the
    accuracy at a given mean time is put in at its place by cost, as long as it helps. Thresholds are taken from doubts
    about photos that the regression was not fitted to (inner cross-validation).

    Args:
        measured: The photos to fit to.
        learned: Pool the networks that have run, and learn when the answer will do; else each network answers alone,
            and its margin decides.
        decision_ms: What deciding once whether to stop costs, milliseconds.
        seed: Shuffles the photos before they are split into inner folds.
    """
    best, best_ms = measured.best, float(measured.network_ms[measured.best])
    fitter = _Fitter(measured, learned, decision_ms, seed)
    chain = [best]
    judged = fitter.judge(chain)
    while len(chain) < _MOST_NETWORKS:
        longer = [sorted([*chain, network]) for network in range(best) if network not in chain]
        if not longer:
            break
        value, candidate = max((fitter.judge(each), each) for each in longer)
        if value < judged + _LEAST_GAIN and len(chain) > 1:
            break
        judged, chain = value, candidate
    trial = fitter.trial(chain)
    found = [*trial.search([share * best_ms for share in LEVELS]), tuple(-1.0 for _ in trial.doubts)]
    return Cascade(trial.stages, tuple(found), _default(trial, found, measured.right[best]))


def _default(trial: _Trial, points: Sequence[tuple[float, ...]], single: NDArray[np.bool_]) -> int:
    """Choose an operating point by the one-standard-error rule (Breiman et al. 1984), against the best network."""
    by_point = [run_cascade(trial.doubts, trial.right, trial.costs_ms, point)[0] for point in points]
    for index, correct in enumerate(by_point):
        gain = correct.astype(np.float64) - single
        if gain.mean() >= gain.std() / np.sqrt(len(gain)):
            return index
    return int(np.argmax([correct.mean() for correct in by_point]))


class _Fitter:
    """Fits chains, remembering what they have in common: stages depend on the networks before them only."""

    def __init__(self, measured: Measurements, learned: bool, decision_ms: float, seed: int) -> None:
        self._measured, self._learned, self._decision_ms, self._seed = measured, learned, decision_ms, seed
        self._answers: dict[tuple[int, ...], tuple[Stage, NDArray[np.float32], NDArray[np.bool_]]] = {}
        self._doubts: dict[tuple[int, ...], tuple[Stage, NDArray[np.float32]]] = {}

    def judge(self, chain: Sequence[int]) -> float:
        """Return the mean accuracy at the shares of the best network's time that choices are judged at."""
        trial, best_ms = self.trial(chain), float(self._measured.network_ms[self._measured.best])
        found = trial.search([share * best_ms for share in _JUDGED_AT])
        return float(np.mean([accuracy_and_cost(trial.doubts, trial.right, trial.costs_ms, each)[0] for each in found]))

    def trial(self, chain: Sequence[int]) -> _Trial:
        """Fit the stages of a chain."""
        prefixes = [tuple(chain[:length]) for length in range(1, len(chain) + 1)]
        deciding = [self._deciding(prefix) for prefix in prefixes[:-1]]
        last, _, _ = self._answering(prefixes[-1])
        costs = [float(self._measured.network_ms[n]) + (self._decision_ms if n != chain[-1] else 0.0) for n in chain]
        right = [self._answering(prefix)[2] for prefix in prefixes]
        return _Trial((*(stage for stage, _ in deciding), last), [doubt for _, doubt in deciding], right, costs)

    def _scores(self, prefix: Sequence[int]) -> list[NDArray[np.float32]]:
        return [self._measured.scores[n] for n in prefix]

    def _answering(self, prefix: tuple[int, ...]) -> tuple[Stage, NDArray[np.float32], NDArray[np.bool_]]:
        if prefix not in self._answers:
            scores, classes = self._scores(prefix), self._measured.classes
            weights = pool_weights(scores, classes) if self._learned else (*[0.0] * (len(prefix) - 1), 1.0)
            stage = Stage(prefix[-1], weights)
            answer = stage.answer(scores)
            self._answers[prefix] = stage, answer, np.asarray(answer.argmax(axis=1) == classes)
        return self._answers[prefix]

    def _deciding(self, prefix: tuple[int, ...]) -> tuple[Stage, NDArray[np.float32]]:
        if prefix not in self._doubts:
            stage, answer, right = self._answering(prefix)
            scores = self._scores(prefix)
            if self._learned:
                doubt, held_out = _fit_doubt(evidence(scores, answer), ~right, self._seed)
                self._doubts[prefix] = Stage(stage.network, stage.weights, doubt), held_out
            else:
                self._doubts[prefix] = stage, stage.doubts(scores, answer)
        return self._doubts[prefix]


def pool_weights(scores: Sequence[NDArray[np.float32]], classes: NDArray[np.int64]) -> tuple[float, ...]:
    """Fit the weights of the logarithmic pool: the least mean negative log-likelihood of the true classes, by Newton.

    Args:
        scores: One (photos, classes) per network.
        classes: (photos,).

    Returns:
        One weight, at least 0, per network.
    """
    if len(scores) == 1:
        return (1.0,)
    step = -(-len(classes) // _POOLED_PHOTOS)
    scores, classes = [each[::step] for each in scores], classes[::step]
    count = len(classes)
    logs = np.log(np.maximum(np.stack(scores, axis=2), FLOOR))  # (photos, classes, networks)
    flat = logs.reshape(-1, len(scores))
    true = logs[np.arange(count), classes]
    weights: NDArray[np.float32] = np.full(len(scores), 1 / len(scores), np.float32)
    for _ in range(_NEWTON_STEPS):
        logits = (flat @ weights).reshape(count, -1)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        mean = np.matmul(p[:, np.newaxis], logs)[:, 0]
        second = (p.reshape(-1, 1) * flat).T @ flat - mean.T @ mean
        gradient = (mean - true).mean(axis=0)
        change = np.linalg.solve(second / count + 1e-6 * np.eye(len(scores)), gradient)
        weights = np.maximum(weights - change, 0.0).astype(np.float32)
        if not weights.any():  # all networks are worse than chance: equal voices
            return tuple(1.0 for _ in scores)
        if np.abs(change).max() < _NEWTON_TOLERANCE:
            break
    return tuple(float(w) for w in weights)


def _fit_doubt(
    looked_at: NDArray[np.float32], wrong: NDArray[np.bool_], seed: int
) -> tuple[Doubt, NDArray[np.float32]]:
    """Return the doubt fitted to all photos, and for each photo that of a fit without it."""
    held_out = np.empty(len(wrong), np.float32)
    for training, part in folds(len(wrong), _INNER_FOLDS, seed):
        held_out[part] = fit_logistic(looked_at[training], wrong[training], _L2)(looked_at[part])
    return fit_logistic(looked_at, wrong, _L2), held_out


def fit_logistic(rows: NDArray[np.float32], wrong: NDArray[np.bool_], l2: float) -> Doubt:
    """Fit the probability that an answer is wrong: a logistic regression with a ridge, by Newton's method.

    Args:
        rows: (n, features) evidence about each answer.
        wrong: (n,) whether the answer was wrong.
        l2: Weight of ½ ‖w‖² beside the mean loss; rows are normalised to mean 0 and standard deviation 1 first.

    Source: Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, section 4.4.1, with Firth-like counts of
    half a photo added to each class for the bias, so that a network that is never wrong gives a finite one.
    """
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
    normal = (rows - mean) / scale
    count, width = normal.shape
    with_bias = np.concatenate([normal, np.ones((count, 1))], axis=1)
    ridge = np.diag([*[l2] * width, 1e-9])
    target = (wrong * count + 0.5) / (count + 1)
    share = float(target.mean())
    solution = np.zeros(width + 1)
    solution[-1] = np.log(share / (1 - share))
    for _ in range(_LOGISTIC_STEPS):
        p = 1 / (1 + np.exp(-np.clip(with_bias @ solution, -30, 30)))
        gradient = with_bias.T @ (p - target) / count + ridge @ solution
        curvature = (with_bias * np.maximum(p * (1 - p), 1e-6)[:, np.newaxis]).T @ with_bias / count + ridge
        step = np.linalg.solve(curvature, gradient)
        solution -= step
        if np.abs(step).max() < 1e-6:
            break
    return Doubt(
        mean.astype(np.float32), scale.astype(np.float32), solution[:-1].astype(np.float32), float(solution[-1])
    )


def run_cascade(
    doubts: Sequence[NDArray[np.float32]],
    right: Sequence[NDArray[np.bool_]],
    costs_ms: Sequence[float],
    thresholds: Sequence[float],
) -> tuple[NDArray[np.bool_], float]:
    """Return whether a cascade with these thresholds answers right, (photos,), and its mean milliseconds.

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
    return correct, float(mean_ms)


def accuracy_and_cost(
    doubts: Sequence[NDArray[np.float32]],
    right: Sequence[NDArray[np.bool_]],
    costs_ms: Sequence[float],
    thresholds: Sequence[float],
) -> tuple[float, float]:
    """Return top-1 accuracy and mean milliseconds of a cascade with these thresholds; arguments of `run_cascade`."""
    correct, mean_ms = run_cascade(doubts, right, costs_ms, thresholds)
    return float(correct.mean()), mean_ms


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
    tried = [(accuracy_and_cost(doubts, right, costs_ms, each), each) for each in itertools.product(*grids)]
    never = tuple(np.inf for _ in doubts)
    best = []
    for budget in budgets_ms:
        within = [(top1, -mean_ms, each) for (top1, mean_ms), each in tried if mean_ms <= budget]
        best.append(tuple(map(float, max(within)[2])) if within else never)
    return best
