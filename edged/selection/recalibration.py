"""Keeps a cascade's doubts true on the device, without labels: agreement with all networks stands for being right.

A cascade stops where it doubts its answer little. On photos unlike those that it was fitted to (a darker lens, another
place) a cheap network may doubt too little or too much. On a few *audited* frames all networks run: the probability
that all of them together give to a stage's answer says how much that answer should be doubted. Where the stage's own
doubt is less than that, its price is raised by the ratio, so that the next network is asked more often; and the other
way round. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.selection.cascade import Cascade, Steps
    from edged.selection.confidence import Matrix

_PRIOR = 30.0
"""The fit counts as much as so many audited frames."""
_HALF_LIFE = 300.0
"""After so many audits an audit counts half: a scene that is over is forgotten."""
_MOST = 4.0
"""A ratio is trusted up to this factor, both ways."""


def doubts_of(answers: list[Matrix]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


class Recalibration:
    """Follows the audited frames of one camera.

    Args:
        cascade: As fitted.
    """

    def __init__(self, cascade: Cascade) -> None:
        self._fitted = cascade
        self._own = _PRIOR * np.array(cascade.doubts, np.float64)
        self._together = self._own * np.array(cascade.understated, np.float64)
        self.audits = 0

    def audit(self, steps: Steps) -> None:
        """Take in a frame on which all stages ran."""
        own, together = doubts_of([answer[np.newaxis] for answer in steps.answers])
        keep = 0.5 ** (1 / _HALF_LIFE)
        self._own = keep * self._own + own[:, 0]
        self._together = keep * self._together + together[:, 0]
        self.audits += 1

    @property
    def factors(self) -> tuple[float, ...]:
        """By how much each stage but the last understates its doubt now, beside the photos of the fit; 1: as fitted."""
        ratio = self._together / np.maximum(self._own, 1e-9) / np.maximum(np.array(self._fitted.understated), 1e-9)
        return tuple(float(each) for each in np.clip(ratio, 1 / _MOST, _MOST))

    @property
    def cascade(self) -> Cascade:
        """The cascade whose prices are raised, or lowered, by these factors."""
        *deciding, last = self._fitted.stages
        stages = [
            replace(stage, next_cost=stage.next_cost / factor)
            for stage, factor in zip(deciding, self.factors, strict=True)
        ]
        return replace(self._fitted, stages=(*stages, last))
