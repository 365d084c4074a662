"""Can features of a frame tell whether it needs the best network? The evidence behind the page's answer.

A frame *needs* the best network where that one is right and a cheaper one is wrong. The area under the ROC curve (AUC)
says how well an estimate ranks such frames before the others: 0.5 is chance. Estimates are those of learners on all
features of a frame, and, beside them, the doubt of the cheaper network about its own answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.lab.selection import Measurements

_CHEAPER = ("mobilenet_v2", "resnet50")
_SIGNALS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_REPEATS = 200

Learner = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Features, whether each needs it, other features → estimates for these."""


def learners() -> dict[str, Learner]:
    """Return ways to learn from features, from the paper's to stronger ones."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def learn(model: Any) -> Learner:
        def estimate(rows: NDArray[Any], needs: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fitted = make_pipeline(StandardScaler(), model).fit(rows, needs)
            return np.asarray(fitted.predict_proba(others)[:, 1])

        return estimate

    return {
        "5 nearest neighbours": learn(KNeighborsClassifier(5)),
        "50 nearest neighbours": learn(KNeighborsClassifier(50)),
        "logistic regression": learn(LogisticRegression(C=0.1, max_iter=2000)),
        "random forest": learn(RandomForestClassifier(300, min_samples_leaf=10, random_state=0)),
    }


def auc(needs: NDArray[np.bool_], estimate: NDArray[Any]) -> dict[str, float]:
    """Return the area under the ROC curve and its standard error (Hanley and McNeil 1982)."""
    order = np.unique(estimate, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order]  # of equal estimates the mean rank
    positives, negatives = int(needs.sum()), int((~needs).sum())
    area = float((ranks[needs].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return {"auc": round(area, 3), "standard_error": round(float(np.sqrt(spread / (positives * negatives))), 3)}


def collect(develop: Measurements, report: Measurements) -> dict[str, Any]:
    """Fit learners to the develop side and look how they rank the photos of the report side."""
    found: dict[str, Any] = {}
    for name in _CHEAPER:
        cheap, best = develop.networks.index(name), develop.best
        needs = {id(side): side.right[best] & ~side.right[cheap] for side in (develop, report)}
        rows = {"doubt of its own answer": auc(needs[id(report)], 1 - report.scores[cheap].max(axis=1))}
        for learner, estimate in learners().items():
            rows[learner] = auc(needs[id(report)], estimate(develop.features, needs[id(develop)], report.features))
        found[name] = {"need": round(float(needs[id(report)].mean()), 4), "estimates": rows}
    return {"networks": found, "wanted": wanted(develop)}


def wanted(measured: Measurements) -> list[dict[str, float]]:
    """Return how accurate a choice between ResNet-50 and the best network would be, for signals of a given AUC.

    The signal is what needs the best network (one) plus normal noise; the frames with the highest signal, as many as
    half of the best network's time allows, go to the best network. Mean of many draws of the noise.
    """
    from statistics import NormalDist

    rng = np.random.default_rng(0)
    cheap, best = measured.networks.index("resnet50"), measured.best
    needs = (measured.right[best] & ~measured.right[cheap]).astype(float)
    costs = measured.network_ms
    share = (0.5 * costs[best] - costs[cheap]) / (costs[best] - costs[cheap])
    rows = []
    for area in _SIGNALS:
        apart = np.sqrt(2) * NormalDist().inv_cdf(area)  # of two normal distributions with that AUC
        accuracies = []
        for _ in range(_REPEATS):
            signal = apart * needs + rng.normal(size=len(needs))
            to_best = signal > np.quantile(signal, 1 - share)
            accuracies.append(np.where(to_best, measured.right[best], measured.right[cheap]).mean())
        rows.append({"auc": area, "difference": round(float(np.mean(accuracies) - measured.top1[best]), 4)})
    return rows
