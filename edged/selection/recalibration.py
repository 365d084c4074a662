"""Lets a cascade's thresholds follow the camera on the device, without labels. Pure.

On a few *audited* frames all networks run. Two things are seen there; both lead to more accuracy, and never to less:

* Agreement. The probability that all networks together give to a stage's answer says how much that answer should be
  doubted. Where a stage doubts its answers less than that, its price is raised by the ratio.
* Effort. On pictures that look easier than the photos of the fit, fewer frames would go on than the operating point was
  fitted for, and accuracy is lost. Its threshold is lowered until as much time is spent again. On pictures that look
  harder the threshold stays: more frames go on, and a budget of time is the governor's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edged.selection.cascade import Cascade, Steps
    from edged.selection.confidence import Matrix

_PRIOR = 30.0
"""The fit counts as much as so many audited frames, where doubts are compared."""
_WINDOW = 400
"""Audits that are remembered."""
_LEAST_AUDITS = 50
"""Before so many, thresholds stay."""
_MOST = 4.0
"""A ratio is trusted up to this factor."""
_TRIED = 100


def doubts_of(answers: Sequence[Matrix]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare each stage's doubt about its answer with that of all stages together.

    Args:
        answers: The scores (photos, classes) after each stage; the last ones are those of all networks.

    Returns:
        Own doubts and those of all together, each (stages − 1, photos).
    """
    together = answers[-1]
    photos = np.arange(len(together))
    own = [1 - each.max(axis=1) for each in answers[:-1]]
    others = [1 - together[photos, each.argmax(axis=1)] for each in answers[:-1]]
    shape = (len(answers) - 1, len(together))
    return np.asarray(own, np.float64).reshape(shape), np.asarray(others, np.float64).reshape(shape)


def effort(prices: NDArray[np.float64], next_costs: NDArray[np.float64], threshold: float) -> float:
    """Return the mean cost of the networks that are asked after the first, as a share of the last one's cost.

    Args:
        prices: (stages − 1, photos); see `Stage.price`.
        next_costs: (stages − 1,); see `Stage.next_cost`.
        threshold: Above this price the next network is asked.
    """
    going = np.logical_and.accumulate(prices > threshold, axis=0)
    return float((going.mean(axis=1) * next_costs).sum())


class Recalibration:
    """Follows the audited frames of a device.

    Args:
        cascade: As fitted.
    """

    def __init__(self, cascade: Cascade) -> None:
        self._fitted = self.cascade = cascade
        """The cascade to run now."""
        self.audits = 0
        self.factors = tuple(1.0 for _ in cascade.stages[:-1])
        """By how much the prices of each stage but the last are raised; 1: as fitted."""
        self._seen: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = deque(maxlen=_WINDOW)

    def audit(self, steps: Steps) -> None:
        """Take in a frame on which all stages ran."""
        own, together = doubts_of([answer[np.newaxis] for answer in steps.answers])
        self._seen.append((own[:, 0], together[:, 0]))
        self.audits += 1
        if self.factors:
            self._follow()

    def _follow(self) -> None:
        owns = np.array([own for own, _ in self._seen]).T
        fitted, understated = np.array(self._fitted.doubts), np.array(self._fitted.understated)
        own = owns.sum(axis=1) + _PRIOR * fitted
        together = np.sum([together for _, together in self._seen], axis=0) + _PRIOR * fitted * understated
        ratio = together / np.maximum(own, 1e-9) / np.maximum(understated, 1e-9)
        self.factors = tuple(float(each) for each in np.clip(ratio, 1.0, _MOST))
        *deciding, last = self._fitted.stages
        stages = [
            replace(stage, next_cost=stage.next_cost / factor)
            for stage, factor in zip(deciding, self.factors, strict=True)
        ]
        thresholds = self._fitted.thresholds
        if len(self._seen) >= _LEAST_AUDITS:
            prices = owns / np.array([[stage.next_cost] for stage in stages])
            thresholds = self._thresholds(prices)
        self.cascade = replace(self._fitted, stages=(*stages, last), thresholds=thresholds)

    def _thresholds(self, prices: NDArray[np.float64]) -> tuple[float, ...]:
        """Return for each point the fitted threshold, or a lower one at which as much is asked as in the fit."""
        costs = np.array([stage.next_cost for stage in self._fitted.stages[:-1]])
        tried = np.quantile(prices, np.linspace(1, 0, _TRIED))  # from high to low: more and more is asked
        asked = np.array([effort(prices, costs, each) for each in tried])
        found = []
        for threshold, wanted in zip(self._fitted.thresholds, self._fitted.efforts, strict=True):
            enough = np.flatnonzero(asked >= wanted)
            follows = float(tried[enough[0]]) if len(enough) else -1.0
            found.append(min(threshold, follows) if wanted > 0 else threshold)
        return tuple(found)
