"""What a strategy reaches on measured photos: accuracy, time, and who answered; every network run is counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.selection.features import FEATURES
from edged.selection.strategy import Single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.selection.measurements import Measurements
    from edged.selection.strategy import Strategy
    from edged.types import Vector

_TOP = 5
_TIMED = 50


@dataclass(eq=False)
class Played:
    """A photo as a strategy looks at it, replayed from measurements: networks answer at once, their time is added up.

    Attributes:
        measured: All measurements.
        photo: Index of the photo.
        runs: How many networks have run.
        network_ms: Time that they took when they were measured.
        energy_mj: Energy that these runs took, millijoules, where power was measured.
    """

    measured: Measurements
    photo: int
    runs: int = 0
    network_ms: float = 0.0
    energy_mj: float = 0.0

    def run(self, network: int) -> Vector:
        """Return what the network gave."""
        self.runs += 1
        self.network_ms += float(self.measured.network_ms[network])
        if self.measured.energy_mj is not None:
            self.energy_mj += float(self.measured.energy_mj[network])
        return np.asarray(self.measured.scores[network, self.photo])

    def features(self, names: Sequence[str]) -> Vector:
        """Return the features."""
        return self.measured.features[self.photo, [FEATURES.index(name) for name in names]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of n photos.

    Attributes:
        top1, top5: (n,) whether the true class is the best one, or among the best five.
        cost_ms: (n,) networks, features and decisions.
        network: (n,) index of the one that answered.
        energy_mj: (n,) of networks, features and decisions; 0 where power was not measured.
        sources: (n,) where each photo comes from.
    """

    top1: NDArray[np.bool_]
    top5: NDArray[np.bool_]
    cost_ms: NDArray[np.float64]
    network: NDArray[np.int64]
    energy_mj: NDArray[np.float64]
    sources: NDArray[np.str_]

    @classmethod
    def join(cls, parts: Sequence[Outcome]) -> Outcome:
        """Return the outcomes of several folds as one."""
        names = ("top1", "top5", "cost_ms", "network", "energy_mj", "sources")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def play(strategy: Strategy, point: int, measured: Measurements, decision_ms: float) -> Outcome:
    """Run a strategy on all photos, at one operating point."""
    top1, top5, cost, network, energy = [], [], [], [], []
    for photo, true in enumerate(measured.classes):
        look = Played(measured, photo)
        scores, answered = strategy.classify(look, point)
        own = scores[true]
        # Of equal scores the lower class wins, as in `argmax`.
        rank = int((scores > own).sum() + (scores[:true] == own).sum())
        top1.append(rank == 0)
        top5.append(rank < _TOP)
        overhead_ms = strategy.overhead_ms(look.runs, measured.feature_ms, decision_ms)
        cost.append(look.network_ms + overhead_ms)
        network.append(answered)
        energy.append(look.energy_mj + overhead_ms * measured.power_mw / 1000)
    return Outcome(
        np.array(top1), np.array(top5), np.array(cost), np.array(network), np.array(energy), measured.sources
    )


def play_oracle(measured: Measurements) -> Outcome:
    """Always run the cheapest network that is right, and it alone; where none is, the cheapest. Nothing can do better
    without combining networks; nothing real knows this beforehand.
    """
    chosen = measured.right.argmax(axis=0)
    singles = {n: play(Single(n), 0, measured, 0.0) for n in np.unique(chosen).tolist()}
    photos = np.arange(len(measured))

    def pick(name: str) -> NDArray[Any]:
        return np.array([getattr(singles[n], name)[i] for n, i in zip(chosen, photos, strict=True)])

    return Outcome(pick("top1"), pick("top5"), pick("cost_ms"), pick("network"), pick("energy_mj"), measured.sources)


def paired_difference(top1: NDArray[np.bool_], single: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare a strategy with a network on the same photos.

    Args:
        top1: (n,) whether the strategy is right.
        single: (n,) whether the network is.

    Returns:
        `difference` of the accuracies, 0..1, `low` and `high` of its 95 % interval for matched pairs (Agresti,
        "Categorical Data Analysis", 3rd edition, section 11.1.1), and how many photos were `gained` and `lost`.
    """
    count = len(top1)
    gained, lost = int((top1 & ~single).sum()), int((single & ~top1).sum())
    difference = (gained - lost) / count
    half = 1.96 * float(np.sqrt(gained + lost - (gained - lost) ** 2 / count)) / count
    return {
        "difference": round(difference, 4),
        "low": round(difference - half, 4),
        "high": round(difference + half, 4),
        "gained": gained,
        "lost": lost,
    }


def decision_ms(strategy: Strategy, measured: Measurements) -> float:
    """Measure what one decision costs: the median over some photos at the default point, networks' time excepted."""
    times = []
    for photo in range(min(_TIMED, len(measured))):
        look = Played(measured, photo)
        begin = time.perf_counter_ns()
        strategy.classify(look, strategy.default)
        times.append((time.perf_counter_ns() - begin) / 1e6 / look.runs)
    return float(np.median(times))


def summary(name: str, kind: str, outcome: Outcome, measured: Measurements, networks: Sequence[int]) -> dict[str, Any]:
    """Return a row of the report.

    Args:
        name: The strategy's, or the single network's.
        kind: "single", "premodel", "cascade", "learned" or "oracle".
        outcome: On all photos.
        measured: The measurements that were replayed: names, memory and energy are taken from them.
        networks: Indices of those that must be loaded.
    """
    shares = np.bincount(outcome.network, minlength=len(measured.networks)) / len(outcome.network)
    row: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "top1": round(float(outcome.top1.mean()), 4),
        "top5": round(float(outcome.top5.mean()), 4),
        "mean_ms": round(float(outcome.cost_ms.mean()), 3),
        "p95_ms": round(float(np.quantile(outcome.cost_ms, 0.95, method="inverted_cdf")), 3),
        "mix": {measured.networks[n]: round(float(share), 4) for n, share in enumerate(shares) if share > 0},
        "memory_mb": round(float(measured.memory_mb[list(networks)].sum()), 1),
    }
    if measured.energy_mj is not None:
        row["energy_mj"] = round(float(outcome.energy_mj.mean()), 2)
        row["energy_per_right_mj"] = round(float(outcome.energy_mj.sum()) / max(int(outcome.top1.sum()), 1), 2)
    if len(found := sorted(set(outcome.sources.tolist()) - {""})) > 1:
        row["top1_by_source"] = {each: round(float(outcome.top1[outcome.sources == each].mean()), 4) for each in found}
    return row
