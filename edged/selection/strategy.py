"""Strategies: ways from a frame to scores through one or more networks of a pool. The same code runs on the device and
in the evaluation. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edged.selection.features import GROUPS

if TYPE_CHECKING:
    from edged.selection.cascade import Cascade
    from edged.selection.premodels import Premodel
    from edged.types import Vector


class Look(Protocol):
    """One frame, as a strategy sees it."""

    def run(self, network: int) -> Vector:
        """Run a network of the pool: (classes,) probabilities in the pool's order of classes."""

    def features(self, names: Sequence[str]) -> Vector:
        """Compute features of the frame: (len(names),)."""


class Strategy(Protocol):
    """Decides at one of several operating points, the cheapest first."""

    @property
    def points(self) -> int:
        """How many operating points there are."""

    @property
    def default(self) -> int:
        """The one to run at while nothing else asks for a cheaper one."""

    @property
    def accurate(self) -> int:
        """The one to run at where accuracy matters more than time (`selection.point = "accurate"`)."""

    @property
    def networks(self) -> tuple[int, ...]:
        """Indices of the networks that it may run."""

    def classify(self, look: Look, point: int) -> tuple[Vector, int]:
        """Return the scores (classes,) and the index of the network that answered."""

    def overhead_ms(self, runs: int, feature_ms: dict[str, float], decision_ms: float) -> float:
        """Return what deciding costs for a frame that `runs` networks have run on, features included."""


@dataclass(frozen=True, eq=False)
class Single:
    """One network, always."""

    network: int
    points: int = 1
    default: int = 0
    accurate: int = 0

    @property
    def networks(self) -> tuple[int, ...]:
        """That one."""
        return (self.network,)

    def classify(self, look: Look, point: int) -> tuple[Vector, int]:  # noqa: ARG002 - there is one point only
        """Run it."""
        return look.run(self.network), self.network

    def overhead_ms(self, runs: int, feature_ms: dict[str, float], decision_ms: float) -> float:  # noqa: ARG002 - free
        """Return 0."""
        return 0.0


@dataclass(frozen=True, eq=False)
class ByPremodel:
    """A premodel chooses the network."""

    premodel: Premodel

    @property
    def points(self) -> int:
        """As many as the premodel has."""
        return self.premodel.points

    @property
    def default(self) -> int:
        """As fitted, or all networks allowed."""
        return self.premodel.default

    @property
    def accurate(self) -> int:
        """The dearest."""
        return self.points - 1

    @property
    def networks(self) -> tuple[int, ...]:
        """The premodel's pool."""
        return self.premodel.pool

    def classify(self, look: Look, point: int) -> tuple[Vector, int]:
        """Compute the features, choose, run."""
        network = self.premodel.choose(look.features(self.premodel.names), point)
        return look.run(network), network

    def overhead_ms(self, runs: int, feature_ms: dict[str, float], decision_ms: float) -> float:  # noqa: ARG002 - one choice
        """Return the features' cost, each group once, and that of one choice."""
        return features_ms(self.premodel.names, feature_ms) + decision_ms


@dataclass(frozen=True, eq=False)
class ByCascade:
    """One network after another until the answer will do."""

    cascade: Cascade

    @property
    def points(self) -> int:
        """One for each threshold."""
        return len(self.cascade.thresholds)

    @property
    def default(self) -> int:
        """As fitted."""
        return self.cascade.default

    @property
    def accurate(self) -> int:
        """As fitted."""
        return self.cascade.accurate

    @property
    def networks(self) -> tuple[int, ...]:
        """Of all stages."""
        return tuple(stage.network for stage in self.cascade.stages)

    def classify(self, look: Look, point: int) -> tuple[Vector, int]:
        """See `Cascade.classify`."""
        steps = self.cascade.classify(look.run, self.cascade.thresholds[point])
        return steps.answer, steps.network

    def overhead_ms(self, runs: int, feature_ms: dict[str, float], decision_ms: float) -> float:  # noqa: ARG002 - no features
        """Return the cost of a decision after each network that is not the last stage's."""
        return decision_ms * min(runs, len(self.cascade.stages) - 1)


def features_ms(names: Sequence[str], feature_ms: dict[str, float]) -> float:
    """Return what these features cost together: each group of `GROUPS` once."""
    wanted = set(names)
    return sum(feature_ms[group[0]] for group in GROUPS.values() if not wanted.isdisjoint(group))
