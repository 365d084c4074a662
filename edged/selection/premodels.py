"""Premodels: which network for these features of a frame? What runs on the device is numpy only.

The four of Taylor et al. 2018 name the cheapest network that will be right: nearest neighbours, decision tree, support
vectors, and a cascade of binary ones that asks of each network, cheapest first, whether it will be. A fifth one
estimates how likely each network is right and weighs that against its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Vector

NEIGHBOURS = 5


class Classifier(Protocol):
    """Decides by normalised features."""

    def predict(self, row: Vector) -> int:
        """Return the class of one (features,) row."""


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """k nearest neighbours by Euclidean distance; of equally frequent classes the smallest (the cheapest network).

    Attributes:
        rows: (n, features) float32.
        targets: (n,) int32.
    """

    rows: NDArray[np.float32]
    targets: NDArray[np.int32]

    def predict(self, row: Vector) -> int:
        """Return the most frequent class among the neighbours."""
        distances = np.square(self.rows - row).sum(axis=1)
        k = min(NEIGHBOURS, len(distances))
        nearest = np.argpartition(distances, k - 1)[:k]
        return int(np.bincount(self.targets[nearest]).argmax())


@dataclass(frozen=True, eq=False)
class DecisionTree:
    """A binary tree as arrays, one entry per node; node 0 is the root.

    Attributes:
        feature: Which one is compared; below 0 at a leaf.
        threshold: At most this: left.
        left, right: Next nodes.
        targets: The class at a leaf.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    targets: NDArray[np.int32]

    def predict(self, row: Vector) -> int:
        """Follow the tree to a leaf."""
        node = 0
        while self.feature[node] >= 0:
            goes_left = row[self.feature[node]] <= self.threshold[node]
            node = int(self.left[node] if goes_left else self.right[node])
        return int(self.targets[node])


@dataclass(frozen=True, eq=False)
class SupportVectors:
    """A support vector machine with a Gaussian kernel, one against one, as LIBSVM decides (Chang and Lin 2011).

    Attributes:
        vectors: (n, features), grouped by class.
        counts: (classes,) vectors of each class.
        coefficients: (classes − 1, n).
        intercepts: (classes · (classes − 1) / 2,).
        gamma: (1,) of the kernel exp(−γ‖x − v‖²).
        targets: (classes,) what the classes stand for.
    """

    vectors: NDArray[np.float64]
    counts: NDArray[np.int32]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    gamma: NDArray[np.float64]
    targets: NDArray[np.int32]

    def predict(self, row: Vector) -> int:
        """Let every pair of classes vote."""
        if len(self.targets) == 1:
            return int(self.targets[0])
        kernel = np.exp(-self.gamma[0] * np.square(self.vectors - row).sum(axis=1))
        ends = np.cumsum(self.counts)
        begins = ends - self.counts
        votes = np.zeros(len(self.targets), int)
        pair = 0
        for i in range(len(self.targets)):
            for j in range(i + 1, len(self.targets)):
                value = self.intercepts[pair]
                value += self.coefficients[j - 1, begins[i] : ends[i]] @ kernel[begins[i] : ends[i]]
                value += self.coefficients[i, begins[j] : ends[j]] @ kernel[begins[j] : ends[j]]
                votes[i if value > 0 else j] += 1
                pair += 1
        return int(self.targets[votes.argmax()])


@dataclass(frozen=True, eq=False)
class BinaryCascade:
    """For each network but the last, cheapest first: will it be right? The first one that will is chosen.

    Attributes:
        rows: (n, features) float32.
        right: (networks − 1, n) int32: whether the network was right on each row.
        networks: (networks,) int32, indices into the pool.
    """

    rows: NDArray[np.float32]
    right: NDArray[np.int32]
    networks: NDArray[np.int32]

    def predict(self, row: Vector) -> int:
        """Ask one network after another."""
        for network, right in zip(self.networks, self.right, strict=False):
            if NearestNeighbours(self.rows, right).predict(row):
                return int(network)
        return int(self.networks[-1])


@dataclass(frozen=True, eq=False)
class ExpectedUtility:
    """The network with the highest probability to be right, less a price for its time.

    The probabilities come from kernel ridge regression of what was right on the training photos, with a Gaussian kernel
    (also called least-squares support vectors: Suykens and Vandewalle 1999).

    Attributes:
        rows: (n, features) float32.
        coefficients: (n, networks): what each row adds to the probabilities.
        mean: (networks,) probability of being right where no row is near.
        gamma: (1,) of the kernel exp(−γ‖x − v‖²).
        costs_ms: (networks,).
        networks: (networks,) int32, indices into the pool.
        prices: (points,) per millisecond, for each operating point, the cheapest point first.
        default: (1,) int32, which point.
    """

    rows: NDArray[np.float32]
    coefficients: NDArray[np.float64]
    mean: NDArray[np.float64]
    gamma: NDArray[np.float64]
    costs_ms: NDArray[np.float64]
    networks: NDArray[np.int32]
    prices: NDArray[np.float64]
    default: NDArray[np.int32]

    def probabilities(self, row: Vector) -> NDArray[np.float64]:
        """Return how likely each network is right, (networks,)."""
        kernel = np.exp(-self.gamma[0] * np.square(self.rows - row).sum(axis=1))
        return np.asarray(self.mean + kernel @ self.coefficients)

    def choose(self, row: Vector, point: int) -> int:
        """Return the network at an operating point."""
        return int(self.networks[(self.probabilities(row) - self.prices[point] * self.costs_ms).argmax()])


KINDS: dict[str, type[NearestNeighbours | DecisionTree | SupportVectors | BinaryCascade | ExpectedUtility]] = {
    "knn": NearestNeighbours,
    "tree": DecisionTree,
    "svm": SupportVectors,
    "binary": BinaryCascade,
    "expected": ExpectedUtility,
}


@dataclass(frozen=True, eq=False)
class Premodel:
    """A classifier with what comes before it.

    Attributes:
        kind: One of `KINDS`.
        names: The features that it looks at.
        low, span: (features,) for normalisation to 0..1 over the training photos.
        pool: Indices of the networks that it chooses among, cheapest first.
        classifier: Its classes are indices of networks.

    The paper's kinds know no prices: their operating point k allows the k + 1 cheapest networks of the pool.
    """

    kind: str
    names: tuple[str, ...]
    low: NDArray[np.float32]
    span: NDArray[np.float32]
    pool: tuple[int, ...]
    classifier: Classifier | ExpectedUtility

    @property
    def priced(self) -> bool:
        """Whether the operating points are prices."""
        return isinstance(self.classifier, ExpectedUtility)

    @property
    def points(self) -> int:
        """How many operating points there are."""
        return len(self.classifier.prices) if isinstance(self.classifier, ExpectedUtility) else len(self.pool)

    @property
    def default(self) -> int:
        """The one to run at: as fitted, or all networks allowed."""
        if isinstance(self.classifier, ExpectedUtility):
            return int(self.classifier.default[0])
        return self.points - 1

    def choose(self, features: Vector, point: int) -> int:
        """Return the index of the network for a frame whose `names` features (features,) are these."""
        row = np.asarray((features - self.low) / self.span, np.float32)
        if isinstance(self.classifier, ExpectedUtility):
            return self.classifier.choose(row, point)
        return min(self.classifier.predict(row), self.pool[point])
