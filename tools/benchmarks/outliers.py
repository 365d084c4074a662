"""Published measures of how far a bottleneck is from taught ones. Numpy, and scikit-learn for two of them.

Each takes what was taught and gives a function: bottlenecks (n, d) → scores (n,), greater is more alike to what was
taught. None of them sees a stranger, and none is tuned but as its authors say; where they leave a number open, several
are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Score = Callable[[Real], Real]

NEIGHBOURS = (1, 5, 20)
_VIM = 512
"""Dimensions of the principal space for bottlenecks of 768 to 2,047 values (Wang et al. 2022)."""
_REACT = 0.9
"""Quantile of the taught activations at which ReAct cuts."""
_NU = 0.05
"""The share of taught photos that the one-class SVM may leave outside."""


@dataclass(frozen=True)
class Known:
    """What was taught.

    Attributes:
        values: (n, d) bottlenecks.
        labels: (n,) from 0.
        weights, bias: (classes, d) and (classes,) of a head that was made of them; None: there is none.
    """

    values: Real
    labels: NDArray[np.intp]
    weights: Real | None = None
    bias: Real | None = None


def measures(known: Known) -> Iterator[tuple[str, Score]]:
    """Yield the name of each measure and the measure."""
    for count in NEIGHBOURS:
        yield f"nearest neighbour, k = {count}", neighbours(known.values, count)
    yield "Mahalanobis", mahalanobis(known.values, known.labels)
    yield "Mahalanobis, length 1", _of_length_1(lambda values: mahalanobis(values, known.labels), known.values)
    yield "relative Mahalanobis", relative_mahalanobis(known.values, known.labels)
    yield "residual of the principal components", residual(known.values)
    yield "one-class SVM", one_class_svm(known.values)
    yield "local outlier factor", local_outlier_factor(known.values)
    if known.weights is not None and known.bias is not None:
        logits = _logits(known.weights, known.bias)
        yield "highest probability", lambda values: _highest_probability(logits(values))
        yield "highest logit", lambda values: np.asarray(logits(values).max(axis=1), np.float64)
        yield "energy", lambda values: _energy(logits(values))
        top = float(np.quantile(known.values, _REACT))
        yield "ReAct", lambda values: _energy(logits(np.minimum(values, top)))
        yield "ViM", vim(known)
        yield "NNGuide", nearest_guided(known)


# -- similarity --------------------------------------------------------------------------------------------------------


def unit(values: Real) -> Real:
    """Return rows of length 1; a row of zeros stays one."""
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), np.float64)


def neighbours(taught: Real, count: int) -> Score:
    """Less the distance to the k-th nearest, all of length 1 (Sun et al. 2022)."""
    ready, place = unit(taught), min(count, len(taught)) - 1

    def score(values: Real) -> Real:
        squared = np.maximum(2 - 2 * unit(values) @ ready.T, 0)
        return np.asarray(-np.sqrt(np.partition(squared, place, axis=1)[:, place]))

    return score


def local_outlier_factor(taught: Real) -> Score:
    """Density around a bottleneck beside that around its neighbours (Breunig et al. 2000), all of length 1."""
    from sklearn.neighbors import LocalOutlierFactor

    found = LocalOutlierFactor(n_neighbors=min(20, len(taught) - 1), novelty=True).fit(unit(taught))
    return lambda values: np.asarray(found.score_samples(unit(values)), np.float64)


def one_class_svm(taught: Real) -> Score:
    """The smallest region around the taught ones (Schölkopf et al. 2001), Gaussian kernel, all of length 1."""
    from sklearn.svm import OneClassSVM

    found = OneClassSVM(nu=_NU, gamma="scale").fit(unit(taught))
    return lambda values: np.asarray(found.score_samples(unit(values)), np.float64)


# -- Gaussians ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gaussian:
    """A covariance that is shrunk to a multiple of the identity, ((1 − a) S + a μ 1), as the few directions of S.

    Attributes:
        axes: (r, d) directions of S.
        variances: (r,) along them, of the shrunk one.
        rest: Variance in all other directions.
        shrunk: a.
    """

    axes: Real
    variances: Real
    rest: float
    shrunk: float

    @classmethod
    def of(cls, centred: Real, shrunk: float | None = None) -> _Gaussian:
        """Fit to rows of mean 0; how much is shrunk, unless it is given, is as Ledoit and Wolf (2004) have it."""
        count, features = centred.shape
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2 / count
        mean = variances.sum() / features
        if shrunk is None:
            # ‖S − μ1‖² and the mean over the rows of ‖x xᵀ − S‖², both without a d × d matrix.
            spread = float((variances**2).sum() - features * mean**2)
            noise = float((np.einsum("ij,ij->i", centred, centred) ** 2).mean() - (variances**2).sum()) / count
            shrunk = float(np.clip(noise / max(spread, 1e-300), 1e-6, 1.0))
        return cls(axes, (1 - shrunk) * variances + shrunk * mean, max(shrunk * mean, 1e-12), shrunk)

    def squared(self, difference: Real) -> Real:
        """Return the squared distance of rows from 0."""
        along = difference @ self.axes.T
        outside = np.einsum("ij,ij->i", difference, difference) - (along**2).sum(axis=1)
        return np.asarray((along**2 / self.variances).sum(axis=1) + np.maximum(outside, 0) / self.rest)


def _of_classes(taught: Real, labels: NDArray[np.intp]) -> tuple[Real, _Gaussian]:
    """Return the mean of each class, (classes, d), and the covariance that all share."""
    means = np.stack([taught[labels == label].mean(axis=0) for label in np.unique(labels)])
    return means, _Gaussian.of(taught - means[np.unique(labels, return_inverse=True)[1]])


def mahalanobis(taught: Real, labels: NDArray[np.intp]) -> Score:
    """Less the squared distance to the nearest class mean, by the covariance that all share (Lee et al. 2018)."""
    means, gaussian = _of_classes(taught, labels)
    return lambda values: -np.min([gaussian.squared(values - mean) for mean in means], axis=0)


def relative_mahalanobis(taught: Real, labels: NDArray[np.intp]) -> Score:
    """The same less the distance from one Gaussian of all taught ones, shrunk as much (Ren et al. 2021)."""
    by_class, mean = mahalanobis(taught, labels), taught.mean(axis=0)
    whole = _Gaussian.of(taught - mean, _of_classes(taught, labels)[1].shrunk)
    return lambda values: by_class(values) + whole.squared(values - mean)


def residual(taught: Real) -> Score:
    """Less the length of what half as many principal components as there are photos do not explain, of length 1."""
    ready = unit(taught)
    mean = ready.mean(axis=0)
    axes = np.linalg.svd(ready - mean, full_matrices=False)[2][: max(len(taught) // 2, 1)]

    def score(values: Real) -> Real:
        centred = unit(values) - mean
        return -np.linalg.norm(centred - centred @ axes.T @ axes, axis=1)

    return score


def _of_length_1(make: Callable[[Real], Score], taught: Real) -> Score:
    score = make(unit(taught))
    return lambda values: score(unit(values))


# -- a head's logits ---------------------------------------------------------------------------------------------------


def _logits(weights: Real, bias: Real) -> Callable[[Real], Real]:
    return lambda values: np.asarray(values @ weights.T + bias, np.float64)


def _energy(logits: Real) -> Real:
    """Return log Σ exp (Liu et al. 2020)."""
    return np.asarray(np.logaddexp.reduce(logits, axis=1), np.float64)


def _highest_probability(logits: Real) -> Real:
    """Return the logarithm of the softmax's greatest probability (Hendrycks, Gimpel 2017)."""
    return np.asarray(logits.max(axis=1) - _energy(logits), np.float64)


def vim(known: Known) -> Score:
    """Energy less α times the part outside the principal space (Wang et al. 2022).

    α makes both of one size on the taught photos. They are fewer than the dimensions that the authors take: then half
    as many as there are photos.
    """
    if known.weights is None or known.bias is None:
        raise ValueError("a head is needed")
    logits, origin = _logits(known.weights, known.bias), -np.linalg.pinv(known.weights) @ known.bias
    size = min(_VIM, len(known.values) // 2)
    axes = np.linalg.svd(known.values - origin, full_matrices=False)[2][:size]

    def outside(values: Real) -> Real:
        centred = values - origin
        return np.asarray(np.linalg.norm(centred - centred @ axes.T @ axes, axis=1), np.float64)

    alpha = float(logits(known.values).max(axis=1).mean() / max(outside(known.values).mean(), 1e-12))
    return lambda values: _energy(logits(values)) - alpha * outside(values)


def nearest_guided(known: Known) -> Score:
    """Energy times the mean similarity to the nearest ten, each times its own energy (Park, Jung, Teoh 2023)."""
    if known.weights is None or known.bias is None:
        raise ValueError("a head is needed")
    logits = _logits(known.weights, known.bias)
    bank = unit(known.values) * _energy(logits(known.values))[:, np.newaxis]
    count = min(10, len(bank))

    def score(values: Real) -> Real:
        guided = np.partition(unit(values) @ bank.T, -count, axis=1)[:, -count:].mean(axis=1)
        return np.asarray(_energy(logits(values)) * guided, np.float64)

    return score
