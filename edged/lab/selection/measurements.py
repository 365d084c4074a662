"""What the networks of a pool gave on labeled photos, and what each costs: the material of every fit and table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Measurements:
    """n photos, m networks, c classes.

    Attributes:
        networks: Names, cheapest first.
        scores: (m, n, c) float32 probabilities, in the pool's common order of classes.
        classes: (n,) the true class of each photo.
        features: (n, len(FEATURES)) float32.
        network_ms: (m,) what one run costs: preparing the input and invoking, milliseconds.
        feature_ms: Name → what it costs by itself, milliseconds; names of one group cost once.
        memory_mb: (m,) what the process grows by with this network loaded.
        energy_mj: (m,) what the whole machine takes for one run, millijoules; None where no sensor tells.
        sources: (n,) where a photo comes from; "" where that is not known.
    """

    networks: tuple[str, ...]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    features: NDArray[np.float32]
    network_ms: NDArray[np.float64]
    feature_ms: dict[str, float]
    memory_mb: NDArray[np.float64]
    energy_mj: NDArray[np.float64] | None
    sources: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(m, n): whether a network's best class is the true one."""
        return np.asarray(self.scores.argmax(axis=2) == self.classes)

    @cached_property
    def top1(self) -> NDArray[np.float64]:
        """(m,): accuracy of each network."""
        return np.asarray(self.right.mean(axis=1))

    @property
    def power_mw(self) -> float:
        """Mean power of the whole machine while networks run; 0 where no sensor tells."""
        return 0.0 if self.energy_mj is None else float(self.energy_mj.sum() / self.network_ms.sum() * 1000)

    @property
    def best(self) -> int:
        """Index of the most accurate network; of equal ones the cheapest."""
        return int(self.top1.argmax())

    def take(self, photos: NDArray[np.int64]) -> Measurements:
        """Return the same of some photos only."""
        return replace(
            self,
            scores=self.scores[:, photos],
            classes=self.classes[photos],
            features=self.features[photos],
            sources=self.sources[photos],
        )


def folds(count: int, parts: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split photos for cross-validation: (training, held out) indices, each photo held out once, shuffled by seed."""
    order = np.random.default_rng(seed).permutation(count)
    held_out = np.array_split(order, min(parts, count))
    return [(np.sort(np.setdiff1d(order, part)), np.sort(part)) for part in held_out]
