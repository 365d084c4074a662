"""Fits premodels to measurements: classifiers of cheap image features that say which network a photo needs.

As Taylor et al. 2018, "Adaptive deep learning model selection on embedded systems": first the pool of networks is
chosen, then the features, then a classifier is fitted that names the cheapest network that is right. The kind
"expected" is fitted for the expected accuracy and cost instead. Trees and support vectors need scikit-learn: the extra
`selection`. Everything else is numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import ConfigError
from edged.lab.selection.cascade_fitting import LEVELS
from edged.lab.selection.measurements import folds
from edged.selection.features import FEATURES
from edged.selection.premodels import (
    KINDS,
    NEIGHBOURS,
    BinaryCascade,
    Classifier,
    DecisionTree,
    ExpectedUtility,
    NearestNeighbours,
    Premodel,
    SupportVectors,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.selection.measurements import Measurements

CORRELATED = 0.75
"""The paper removes a feature with a higher Pearson correlation (absolute) to one that stays."""
THETA = 0.005
"""The paper's θ: a network joins the pool where the pool's accuracy grows by more than that, 0..1."""
_MAX_FEATURES = 7
"""The paper ends up with seven."""
_TREE_DEPTH, _LEAF_PHOTOS = 6, 10
_INNER_FOLDS = 5
_RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Of the regression of the kind "expected", tried on inner folds."""
_PRICES = np.append(np.geomspace(1.0, 1e-4, 60), 0.0)
"""Tried for the operating points: what the best network's whole time may cost, as accuracy."""


def optimal(right: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the cheapest network that is right on each photo; where none is, the cheapest of all: nothing is lost.

    Args:
        right: (networks, photos), cheapest network first.
    """
    return np.asarray(right.argmax(axis=0), np.int32)


def choose_pool(right: NDArray[np.bool_], theta: float = THETA) -> tuple[int, ...]:
    """Return the indices of the pool's networks, cheapest first: the algorithm of the paper's section 3.5.

        pool ← {the network that is the optimal one for most photos}
        repeat
            failed ← photos that no network of the pool classifies correctly
            add the network that is right on most of `failed`
        until the accuracy of the pool (some network of it is right) grew by no more than θ

    The optimal network for a photo is the cheapest one that is right. The network that no longer brings more than θ is
    left out again.

    Args:
        right: (networks, photos), cheapest network first.
        theta: Least growth of accuracy, 0..1, for one more network.
    """
    solvable = right.any(axis=0)
    first = int(np.bincount(optimal(right)[solvable], minlength=len(right)).argmax())
    pool, solved = [first], right[first].copy()
    while len(pool) < len(right):
        gains = (right & ~solved).sum(axis=1)
        added = int(gains.argmax())
        if gains[added] / max(len(solved), 1) <= theta:
            break
        pool.append(added)
        solved |= right[added]
    return tuple(sorted(pool))


def uncorrelated(rows: NDArray[np.float32], names: Sequence[str], costs_ms: dict[str, float]) -> tuple[str, ...]:
    """Return the names of features that tell something of their own, in their order.

    Constant features are removed; then, of each correlated pair, the dearer one (of equally dear ones the later).

    Args:
        rows: (photos, len(names)).
        names: Names of the columns.
        costs_ms: Name → what computing the feature takes.
    """
    varies = rows.std(axis=0) > 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):  # constant columns
        correlation = np.abs(np.corrcoef(rows, rowvar=False))
    kept: list[int] = []
    for index in sorted(range(len(names)), key=lambda index: (costs_ms[names[index]], index)):
        if varies[index] and all(correlation[index, other] <= CORRELATED for other in kept):
            kept.append(index)
    return tuple(names[index] for index in sorted(kept))


def range_of(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least value and the span of each column, for normalisation to 0..1; a constant column has span 1."""
    low = rows.min(axis=0)
    span = rows.max(axis=0) - low
    return low.astype(np.float32), np.where(span > 0, span, 1).astype(np.float32)


def choose_features(measured: Measurements, seed: int = 0) -> tuple[tuple[str, ...], dict[str, float]]:
    """Choose features as the paper does: correlated ones go, then the most important ones stay.

    Returns:
        At most seven names, in the order of `FEATURES`; and the importance of every uncorrelated feature: how much the
        accuracy of a nearest-neighbours premodel (share of photos for which it chooses the optimal network, inner
        cross-validation) falls when it is left out.
    """
    names = uncorrelated(measured.features, FEATURES, measured.feature_ms)
    targets = _targets(measured, choose_pool(measured.right))
    parts = folds(len(measured), _INNER_FOLDS, seed)

    def accuracy(columns: Sequence[str]) -> float:
        rows = _columns(measured.features, columns)
        hits = 0
        for training, held_out in parts:
            low, span = range_of(rows[training])
            found = _nearest((rows[training] - low) / span, targets[training], (rows[held_out] - low) / span)
            hits += int((found == targets[held_out]).sum())
        return hits / len(targets)

    everything = accuracy(names)
    importance = {n: everything - accuracy([other for other in names if other != n]) for n in names}
    best = set(sorted(names, key=lambda name: -importance[name])[:_MAX_FEATURES])
    return tuple(name for name in names if name in best), importance


def _nearest(rows: NDArray[np.float32], targets: NDArray[np.int32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """As `NearestNeighbours`, for many rows at once."""
    distances = np.square(rows).sum(axis=1) - 2 * queries @ rows.T  # the queries' own squares do not change the order
    nearest = np.argpartition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    votes = (targets[nearest][:, :, np.newaxis] == np.arange(targets.max() + 1)).sum(axis=1)
    return np.asarray(votes.argmax(axis=1))


def fit_premodel(
    kind: str, measured: Measurements, names: Sequence[str], pool: Sequence[int] | None = None
) -> Premodel:
    """Fit one premodel to these photos.

    Args:
        kind: One of `KINDS`.
        measured: The photos.
        names: The features to look at.
        pool: Networks to choose among, cheapest first; None: by the paper's algorithm, or all for the kind "expected".

    Raises:
        ConfigError: The kind needs scikit-learn and it is not installed.
    """
    rows = _columns(measured.features, names)
    low, span = range_of(rows)
    normal = np.asarray((rows - low) / span, np.float32)
    if kind == "expected":
        everything = tuple(range(len(measured.networks))) if pool is None else tuple(pool)
        return Premodel(kind, tuple(names), low, span, everything, _fit_expected(normal, measured, everything))
    chosen = tuple(choose_pool(measured.right) if pool is None else pool)
    targets = _targets(measured, chosen)
    classifier: Classifier
    if kind == "knn":
        classifier = NearestNeighbours(normal, targets)
    elif kind == "binary":
        right = measured.right[list(chosen[:-1])].astype(np.int32)
        classifier = BinaryCascade(normal, right, np.array(chosen, np.int32))
    elif kind == "tree":
        classifier = _fit_tree(normal, targets)
    elif kind == "svm":
        classifier = _fit_svm(normal, targets)
    else:
        raise ConfigError(f"premodel kind {kind!r}: unknown; allowed: {', '.join(KINDS)}")
    return Premodel(kind, tuple(names), low, span, chosen, classifier)


def _fit_expected(rows: NDArray[np.float32], measured: Measurements, pool: Sequence[int]) -> ExpectedUtility:
    """Fit probabilities of being right, and a price of time for each operating point.

    The ridge is that with the least squared error on inner folds; prices are found on the probabilities of inner folds,
    too. The default is the cheapest point that is as accurate there as the best network; else the dearest.
    """
    right, costs_ms = measured.right[list(pool)].T.astype(np.float64), measured.network_ms[list(pool)]
    gamma = np.array([1 / (rows.shape[1] * max(float(rows.var()), 1e-9))])
    estimates = {}
    for ridge in _RIDGES:
        found = np.empty_like(right)
        for training, held_out in folds(len(rows), _INNER_FOLDS, 0):
            mean, coefficients = _kernel_ridge(rows[training], right[training], gamma[0], ridge)
            found[held_out] = mean + _kernel(rows[held_out], rows[training], gamma[0]) @ coefficients
        estimates[ridge] = found
    ridge = min(_RIDGES, key=lambda each: float(np.square(estimates[each] - right).mean()))
    best_ms, best = float(measured.network_ms[measured.best]), float(measured.top1[measured.best])
    photos, tried = np.arange(len(rows)), []
    for price in _PRICES / best_ms:
        chosen = (estimates[ridge] - price * costs_ms).argmax(axis=1)
        tried.append((price, float(costs_ms[chosen].mean()), float(right[photos, chosen].mean())))
    points = [
        min((each for each in tried if each[1] <= share * best_ms), default=tried[0], key=lambda each: each[0])
        for share in LEVELS
    ]
    points.append(tried[-1])
    equal = [number for number, (_, _, top1) in enumerate(points) if top1 >= best]
    mean, coefficients = _kernel_ridge(rows, right, gamma[0], ridge)
    return ExpectedUtility(
        rows,
        coefficients,
        mean,
        gamma,
        costs_ms,
        np.array(pool, np.int32),
        np.array([price for price, _, _ in points]),
        np.array([equal[0] if equal else len(points) - 1], np.int32),
    )


def _kernel(rows: NDArray[np.float32], others: NDArray[np.float32], gamma: float) -> NDArray[np.float64]:
    squares = np.square(rows[:, np.newaxis].astype(np.float64) - others[np.newaxis]).sum(axis=2)
    return np.asarray(np.exp(-gamma * squares))


def _kernel_ridge(
    rows: NDArray[np.float32], right: NDArray[np.float64], gamma: float, ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (networks,) and the coefficients (n, networks)."""
    mean = right.mean(axis=0)
    return mean, np.linalg.solve(_kernel(rows, rows, gamma) + ridge * np.eye(len(rows)), right - mean)


def _targets(measured: Measurements, pool: Sequence[int]) -> NDArray[np.int32]:
    return np.array(pool, np.int32)[optimal(measured.right[list(pool)])]


def _columns(features: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    return features[:, [FEATURES.index(name) for name in names]]


def _fit_tree(rows: NDArray[np.float32], targets: NDArray[np.int32]) -> DecisionTree:
    fitted = (
        _sklearn("tree")
        .DecisionTreeClassifier(max_depth=_TREE_DEPTH, min_samples_leaf=_LEAF_PHOTOS, random_state=0)
        .fit(rows, targets)
    )
    tree = fitted.tree_
    return DecisionTree(
        np.where(tree.children_left < 0, -1, tree.feature).astype(np.int32),
        np.asarray(tree.threshold, np.float64),
        np.asarray(tree.children_left, np.int32),
        np.asarray(tree.children_right, np.int32),
        np.asarray(fitted.classes_[tree.value[:, 0].argmax(axis=1)], np.int32),
    )


def _fit_svm(rows: NDArray[np.float32], targets: NDArray[np.int32]) -> SupportVectors:
    classes = np.unique(targets)
    if len(classes) == 1:  # a machine needs two classes; here the same network is always the optimal one
        nothing = np.zeros((0, rows.shape[1]))
        empty = np.zeros((0, 0))
        return SupportVectors(nothing, np.zeros(1, np.int32), empty, np.zeros(0), np.ones(1), classes.astype(np.int32))
    gamma = 1 / (rows.shape[1] * max(float(rows.var()), 1e-9))  # scikit-learn's "scale"
    fitted = _sklearn("svm").SVC(kernel="rbf", gamma=gamma, C=1.0).fit(rows, targets)
    # With two classes scikit-learn turns LIBSVM's sign round.
    sign = -1.0 if len(classes) == 2 else 1.0
    return SupportVectors(
        np.asarray(fitted.support_vectors_, np.float64),
        np.asarray(fitted.n_support_, np.int32),
        sign * np.asarray(fitted.dual_coef_, np.float64),
        sign * np.asarray(fitted.intercept_, np.float64),
        np.array([gamma]),
        np.asarray(fitted.classes_, np.int32),
    )


def require_sklearn() -> None:
    """Raise ConfigError where scikit-learn is not installed."""
    _sklearn("tree")


def _sklearn(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ConfigError(
            "fitting premodels needs scikit-learn, which is not installed: pip install 'edged[selection]'"
        ) from error
