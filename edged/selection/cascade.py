"""A cascade: networks from cheap to dear, and after each one the decision whether its answer will do. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.selection.confidence import doubt, pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.selection.confidence import Matrix


@dataclass(frozen=True, eq=False)
class Stage:
    """One network of the cascade.

    Attributes:
        network: Index into the pool.
        weights: How the networks run so far are pooled, this one last; all 0 but the last: this one answers alone.
        next_cost: What the next network costs, as a share of what the last one of the cascade does; 1 for the last.
    """

    network: int
    weights: tuple[float, ...]
    next_cost: float

    def answer(self, scores: Sequence[Matrix]) -> Matrix:
        """Return the answer (photos, classes) of the networks run so far."""
        return pool(scores, self.weights)

    def price(self, answer: Matrix) -> NDArray[np.float32]:
        """Return what the next network may cost at most to be asked, (photos,): the doubt for each unit of its cost.

        A network that costs an eighth is worth asking at an eighth of the doubt.
        """
        return doubt(answer) / np.float32(self.next_cost)


@dataclass(frozen=True, eq=False)
class Cascade:
    """Stages, and for each operating point the price above which the next network is asked.

    There is one threshold for all stages: their answers are calibrated, so the same doubt means the same at each of
    them, and it is weighed against the cost of the next network.

    Attributes:
        stages: Cheapest first.
        thresholds: One for each operating point, from the cheapest point to the dearest.
        default: The operating point to run at.
        accurate: The one for those who want more than the best single network's accuracy, and less than its time.
        efforts: For each point the mean cost of the networks that were asked after the first one, on the fitted photos,
            as a share of the last one's.
        doubts: For each stage but the last the mean doubt about its answers, on the fitted photos.
        understated: For each of them how much greater that of all stages together is; about 1.
    """

    stages: tuple[Stage, ...]
    thresholds: tuple[float, ...]
    default: int
    accurate: int
    efforts: tuple[float, ...]
    doubts: tuple[float, ...]
    understated: tuple[float, ...]

    def classify(self, run: Callable[[int], NDArray[np.float32]], threshold: float) -> Steps:
        """Classify one frame.

        Args:
            run: Runs a network of the pool and returns its scores (classes,).
            threshold: The price above which the next network is asked; below 0: all of them run.
        """
        scores: list[Matrix] = []
        answers: list[NDArray[np.float32]] = []
        prices: list[float] = []
        for stage in self.stages:
            scores.append(run(stage.network)[np.newaxis])
            answer = stage.answer(scores)
            answers.append(answer[0])
            prices.append(float(stage.price(answer)[0]))
            if prices[-1] <= threshold:
                break
        return Steps(tuple(answers), tuple(prices), self.stages[len(answers) - 1].network)


@dataclass(frozen=True, eq=False)
class Steps:
    """What a cascade did with one frame.

    Attributes:
        answers: The scores (classes,) after each stage that ran; the last one is the cascade's answer.
        prices: `Stage.price` of each of them.
        network: Index of the last network run, the one that answered.
    """

    answers: tuple[NDArray[np.float32], ...]
    prices: tuple[float, ...]
    network: int

    @property
    def answer(self) -> NDArray[np.float32]:
        """The cascade's answer: scores (classes,)."""
        return self.answers[-1]
