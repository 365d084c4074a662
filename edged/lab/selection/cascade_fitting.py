"""Fits cascades to measurements: which networks, how they are pooled, when an answer will do. Pure numpy.

A cascade runs networks in turn, cheapest first. After each one it pools the scores so far and stops where the doubt,
one minus the pool's best probability, is small beside the cost of the next network. Few numbers are fitted, because a
few hundred photos tell no more: one weight for each network of each stage, and one threshold for each operating point.
Weights and the choice of networks follow the likelihood of the true classes, which differs less by chance than the
number of right answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.selection.cascade import Cascade, Stage
from edged.selection.confidence import FLOOR, pool
from edged.selection.recalibration import doubts_of, effort

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.selection.measurements import Measurements

LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.36, 0.42, 0.5, 0.58, 0.66, 0.8)
"""Operating points of a cascade: budgets as shares of the most accurate single network's time."""
DEFAULT_LEVEL, ACCURATE_LEVEL = 0.36, 0.5
"""The points to run at, where they are as accurate as the best single network on the photos that were fitted."""
_JUDGED_AT = (0.25, 0.36, 0.5)
"""A choice of networks is judged by its mean log-likelihood at these shares."""
_MOST_NETWORKS = 4
_NEWTON_STEPS, _NEWTON_TOLERANCE = 12, 0.002
_POOLED_PHOTOS = 1000
"""Weights are fitted to at most so many photos: plenty for a handful of weights, more only take time."""
_GRID = 200
"""Thresholds that are tried."""
_LEAST_PROBABILITY = 1e-4
"""Of the true class, in a log-likelihood: one photo must not decide."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the stages of a chain say about n photos.

    Attributes:
        right: (stages, n) whether it is the true one.
        prices: (stages, n) what the next network may cost at most to be asked; see `Stage.price`.
        log_likelihoods: (stages, n) of the true class.
        costs_ms: (stages,) what each stage adds.
    """

    right: NDArray[np.bool_]
    prices: NDArray[np.float32]
    log_likelihoods: NDArray[np.float64]
    costs_ms: NDArray[np.float64]

    def stopped(self, threshold: float) -> NDArray[np.int64]:
        """Return at which stage each photo is answered, (n,)."""
        going = np.logical_and.accumulate(self.prices[:-1] > threshold, axis=0)
        return np.asarray(going.sum(axis=0))

    def mean_ms(self, stages: NDArray[np.int64]) -> float:
        """Return the mean milliseconds of photos that are answered at these stages."""
        return float(np.cumsum(self.costs_ms)[stages].mean())

    def thresholds(self, budgets_ms: Sequence[float]) -> list[float]:
        """Return for each budget the least threshold that keeps to it on these photos.

        Where a budget is too small for the first network alone, its threshold never asks another one.
        """
        tried: list[float] = []
        if len(self.costs_ms) > 1:
            tried = np.unique(np.quantile(self.prices[:-1], np.linspace(0, 1, _GRID))).tolist()
        costs = [(self.mean_ms(self.stopped(each)), float(each)) for each in tried]
        return [min((each for ms, each in costs if ms <= budget), default=np.inf) for budget in budgets_ms]


def fit_cascade(measured: Measurements, *, pooled: bool, decision_ms: float) -> Cascade:
    """Choose networks and fit weights and thresholds on these photos and nothing else.

    The last network is the most accurate one. The ones before it are chosen greedily: the one that most improves the
    log-likelihood of the true classes at given mean times is put in at its place by cost, as long as it helps by more
    than a fitted weight improves it by chance (Akaike 1974).

    Args:
        measured: The photos to fit to.
        pooled: The networks that have run answer together; else each network answers alone.
        decision_ms: What deciding once whether to stop costs, milliseconds.
    """
    best, best_ms = measured.best, float(measured.network_ms[measured.best])
    fitter = _Fitter(measured, pooled, decision_ms)
    chain: tuple[int, ...] = (best,)
    judged = fitter.judge(chain)
    while len(chain) < _MOST_NETWORKS:
        longer = [tuple(sorted([*chain, network])) for network in range(best) if network not in chain]
        if not longer:
            break
        value, candidate = max((fitter.judge(each), each) for each in longer)
        if value <= judged and len(chain) > 1:
            break
        judged, chain = value, candidate
    answers = fitter.answers(chain)
    thresholds = [*answers.thresholds([share * best_ms for share in LEVELS]), -1.0]
    stops = [answers.stopped(each) for each in thresholds]
    photos = np.arange(len(measured))
    top1 = [float(answers.right[stop, photos].mean()) for stop in stops]
    own, together = doubts_of(fitter.said(chain))
    next_costs = np.array([stage.next_cost for stage in fitter.stages(chain)[:-1]])
    return Cascade(
        fitter.stages(chain),
        tuple(thresholds),
        _point(top1, LEVELS.index(DEFAULT_LEVEL), float(measured.top1[best])),
        _point(top1, LEVELS.index(ACCURATE_LEVEL), float(measured.top1[best])),
        tuple(effort(answers.prices[:-1].astype(np.float64), next_costs, each) for each in thresholds),
        tuple(own.mean(axis=1).tolist()),
        tuple((together.sum(axis=1) / np.maximum(own.sum(axis=1), 1e-9)).tolist()),
    )


def _point(top1: Sequence[float], least: int, single: float) -> int:
    """Return the cheapest point from `least` on that is as accurate as the best network; else the most accurate one."""
    equal = [point for point in range(least, len(top1)) if top1[point] >= single]
    return equal[0] if equal else int(np.argmax(top1))


class _Fitter:
    """Fits chains, remembering what they have in common: stages depend on the networks before them only."""

    def __init__(self, measured: Measurements, pooled: bool, decision_ms: float) -> None:
        self._measured, self._pooled, self._decision_ms = measured, pooled, decision_ms
        self._stages: dict[tuple[int, ...], tuple[tuple[float, ...], NDArray[np.float32]]] = {}

    def judge(self, chain: tuple[int, ...]) -> float:
        """Return the mean log-likelihood of a photo's true class at given shares of the best network's time."""
        answers, best_ms = self.answers(chain), float(self._measured.network_ms[self._measured.best])
        photos = np.arange(len(self._measured))
        reached = [
            answers.log_likelihoods[answers.stopped(threshold), photos].mean()
            for threshold in answers.thresholds([share * best_ms for share in _JUDGED_AT])
        ]
        return float(np.mean(reached)) - len(chain) / len(photos)

    def answers(self, chain: tuple[int, ...]) -> Answers:
        """Return what the stages of a chain say about the photos."""
        true, photos = self._measured.classes, np.arange(len(self._measured))
        stages = self.stages(chain)
        said = self.said(chain)
        likelihoods = np.stack([each[photos, true] for each in said])
        decisions_ms = np.array([self._decision_ms] * (len(chain) - 1) + [0.0])
        return Answers(
            np.stack([each.argmax(axis=1) == true for each in said]),
            np.stack([stage.price(each) for stage, each in zip(stages, said, strict=True)]),
            np.log(np.maximum(likelihoods, _LEAST_PROBABILITY)),
            self._measured.network_ms[list(chain)] + decisions_ms,
        )

    def said(self, chain: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Return the scores (photos, classes) after each stage of a chain."""
        return [self._stage(chain[: length + 1])[1] for length in range(len(chain))]

    def stages(self, chain: tuple[int, ...]) -> tuple[Stage, ...]:
        """Fit the stages of a chain."""
        costs_ms = self._measured.network_ms
        following = (*chain[1:], chain[-1])
        return tuple(
            Stage(network, self._stage(chain[: place + 1])[0], float(costs_ms[after] / costs_ms[chain[-1]]))
            for place, (network, after) in enumerate(zip(chain, following, strict=True))
        )

    def _stage(self, prefix: tuple[int, ...]) -> tuple[tuple[float, ...], NDArray[np.float32]]:
        """Return the weights after a network that follows others, and what they say together."""
        voices = prefix if self._pooled else prefix[-1:]
        if prefix not in self._stages:
            own = pool_weights([self._measured.scores[n] for n in voices], self._measured.classes)
            weights = (*[0.0] * (len(prefix) - len(voices)), *own)
            self._stages[prefix] = weights, pool([self._measured.scores[n] for n in prefix], weights)
        return self._stages[prefix]


def pool_weights(scores: Sequence[NDArray[np.float32]], classes: NDArray[np.int64]) -> tuple[float, ...]:
    """Fit the weights of the logarithmic pool: the least mean negative log-likelihood of the true classes, by Newton.

    Args:
        scores: One (photos, classes) per network.
        classes: (photos,).

    Returns:
        One weight, at least 0, per network; of a single network its inverse temperature.
    """
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
        # A weight of 0 that would become less takes no part, else the others would follow a change that is cut off.
        free = (weights > 0) | (gradient < 0)
        curvature = second / count + 1e-6 * np.eye(len(scores))
        change = np.zeros(len(scores))
        change[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        weights = np.maximum(weights - change, 0.0).astype(np.float32)
        if not weights.any():  # all networks are worse than chance: equal voices
            return tuple(1.0 for _ in scores)
        if np.abs(change).max() < _NEWTON_TOLERANCE:
            break
    return tuple(float(w) for w in weights)
