"""Fits cascades to measurements: which networks, how they are pooled, when an answer will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.lab.selection import thresholds
from edged.lab.selection.logistic import fit_logistic
from edged.lab.selection.measurement import folds
from edged.selection.cascade import Cascade, Doubt, Stage
from edged.selection.confidence import FLOOR, evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.selection.measurement import Measurements

LEVELS = (0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.65, 0.8)
"""Operating points of a cascade: budgets as shares of the most accurate single network's time."""
_JUDGED_AT = (0.25, 0.35, 0.5)
"""A choice of networks is judged by its mean accuracy at these shares."""
_LONGEST = 4
_INNER_FOLDS = 5
_L2 = 0.01  # per photo, on normalised evidence
_NEWTON_STEPS, _NEWTON_ENOUGH = 8, 0.005
_POOLED_PHOTOS = 600
"""Plenty for a handful of weights; more only take time."""
_GAIN = 0.001
"""A longer cascade must be that much more accurate."""


@dataclass(frozen=True, eq=False)
class _Trial:
    """A chain of networks as fitted, and what is expected of it on photos that it was not fitted to."""

    stages: tuple[Stage, ...]
    doubts: list[NDArray[np.float32]]
    right: list[NDArray[np.bool_]]
    costs_ms: list[float]

    def search(self, budgets_ms: Sequence[float]) -> list[tuple[float, ...]]:
        """Return the best thresholds for each budget."""
        return thresholds.search(self.doubts, self.right, self.costs_ms, budgets_ms)


def fit_cascade(measured: Measurements, *, learned: bool, decision_ms: float, seed: int = 0) -> Cascade:
    """Choose networks and fit pooling, doubts and thresholds on these photos and nothing else.

    The last network is the most accurate one. The ones before it are chosen greedily: the one that most improves the
    accuracy at a given mean time is put in at its place by cost, as long as it helps. Thresholds are taken from doubts
    about photos that the regression was not fitted to (inner cross-validation).

    Args:
        measured: The photos to fit to.
        learned: Pool the networks that have run, and learn when the answer will do; else each network answers alone,
            and its margin decides.
        decision_ms: What one stop decision costs.
        seed: Of the inner folds.
    """
    best, best_ms = measured.best, float(measured.network_ms[measured.best])
    fitter = _Fitter(measured, learned, decision_ms, seed)
    chain = [best]
    judged = fitter.judge(chain)
    while len(chain) < _LONGEST:
        longer = [sorted([*chain, network]) for network in range(best) if network not in chain]
        if not longer:
            break
        value, candidate = max((fitter.judge(each), each) for each in longer)
        if value < judged + _GAIN and len(chain) > 1:
            break
        judged, chain = value, candidate
    trial = fitter.trial(chain)
    found = [*trial.search([share * best_ms for share in LEVELS]), tuple(-1.0 for _ in trial.doubts)]
    return Cascade(trial.stages, tuple(found), _default(trial, found, measured.right[best]))


def _default(trial: _Trial, points: Sequence[tuple[float, ...]], single: NDArray[np.bool_]) -> int:
    """Choose an operating point by the one-standard-error rule (Breiman et al. 1984), against the best network."""
    correct = [thresholds.correct(trial.doubts, trial.right, point) for point in points]
    for index, each in enumerate(correct):
        gain = each.astype(np.float64) - single
        if gain.mean() >= gain.std() / np.sqrt(len(gain)):
            return index
    return int(np.argmax([each.mean() for each in correct]))


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
        return float(
            np.mean([thresholds.outcomes(trial.doubts, trial.right, trial.costs_ms, each)[0] for each in found])
        )

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
        if np.abs(change).max() < _NEWTON_ENOUGH:
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
