"""Which frames a person should label next. Pure: numpy in, numpy out.

A frame is worth its label for what it tells of others: the label of one that looks like many doubtful frames settles
them all. So frames are chosen one by one, each as the one that covers most of the doubt that is left, where a frame
covers another by how alike they are (K. Wei, R. Iyer, J. Bilmes, "Submodularity in data subset selection and active
learning", ICML 2015: facility location, here weighted by the doubt). Where no model knows the labels yet, all frames
are equally doubtful, and the same rule covers the frames themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.images.clustering import directions
from edged.images.sampling import DUPLICATE_DISTANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Vector

Why = Literal["stranger", "uncertain", "typical"]
"""Unlike anything taught; the model cannot decide between two labels; like many frames that have no label."""
UNSURE_MARGIN = 0.5
"""Best and second score that are nearer than this are a doubt of the frame itself, not of those that it is like."""
STRANGERS = 0.5
"""Share of the suggestions that strangers take at most, as long as there are others: they can be labeled in groups."""
_SHARPNESS = 2
"""Power of the cosine: how much less the frames that are less alike are covered. 1 is much worse, 4 is as good."""
_ROWS = 1024
"""Taught images that are compared at once."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A frame that is worth a label.

    Attributes:
        row: Its row in the pool.
        why: What for.
    """

    row: int
    why: Why


def suggest(
    pool: Vector,
    count: int,
    *,
    taught: Vector | None = None,
    scores: Vector | None = None,
    strange: NDArray[np.bool_] | None = None,
    teaching: NDArray[np.bool_] | None = None,
) -> list[Suggestion]:
    """Choose the frames whose labels would help most.

    Args:
        pool: (n, d) float32 bottlenecks of the frames without a label.
        count: How many to choose.
        taught: (m, d) float32 bottlenecks of the images that have a label; None: there are none.
        scores: (n, c) probabilities that a model which knows the labels gives the frames; None: there is no such model.
        strange: (n,) whether a frame is unlike anything taught; None: nobody can tell.
        teaching: (n,) whether a training would learn from a frame; the others only have doubts that count. None: all.

    Returns:
        `count` of them or fewer, strangers first, otherwise the most helpful first. Near duplicates of taught images
        and of each other are left out: their labels would tell nothing new.
    """
    if len(pool) == 0:
        return []
    known = pool[:0] if taught is None else taught
    margins = np.zeros(len(pool), np.float32) if scores is None else _margins(scores)
    foreign = np.zeros(len(pool), bool) if strange is None else strange
    eligible = np.ones(len(pool), bool) if teaching is None else teaching
    cover = _Cover(pool, known)
    unknown, known_kinds = np.flatnonzero(foreign & eligible), np.flatnonzero(~foreign & eligible)
    strangers = cover.choose(unknown, foreign, math.ceil(count * STRANGERS))
    others = cover.choose(known_kinds, np.where(foreign, 0, 1 - margins), count - len(strangers))
    strangers += cover.choose(unknown, foreign, count - len(strangers) - len(others))
    unsure = np.zeros(len(pool), bool) if scores is None else margins < UNSURE_MARGIN
    return [
        *(Suggestion(row, "stranger") for row in strangers),
        *(Suggestion(row, "uncertain" if unsure[row] else "typical") for row in others),
    ]


def _margins(scores: Vector) -> Vector:
    """Return by how much the best score is above the second, (n,)."""
    if scores.shape[1] < 2:
        return np.ones(len(scores), np.float32)
    best = np.partition(scores, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2], np.float32)


class _Cover:
    """How well each frame of the pool is covered by what is taught and by what was chosen."""

    def __init__(self, pool: Vector, taught: Vector) -> None:
        origin = np.asarray((pool.sum(axis=0) + taught.sum(axis=0)) / (len(pool) + len(taught)), np.float32)
        pointing = directions(pool, origin)
        self._covering = _coverage(pointing, pointing)
        self._covered = np.zeros(len(pool), np.float32)
        self._repeats = np.zeros(len(pool), bool)
        self._plain = directions(pool, np.zeros_like(origin))
        for begin in range(0, len(taught), _ROWS):
            some = taught[begin : begin + _ROWS]
            np.maximum(self._covered, _coverage(directions(some, origin), pointing).max(axis=0), out=self._covered)
            self._leave_out_what_repeats(directions(some, np.zeros_like(origin)))

    def choose(self, candidates: NDArray[np.intp], doubt: NDArray[np.generic], count: int) -> list[int]:
        """Choose so many candidates, each as the one that covers most of the doubt (n,) that is left.

        What a frame would cover only shrinks as others are chosen, so that most need not be looked at again (M. Minoux,
        "Accelerated greedy algorithms for maximizing submodular set functions", 1978).
        """
        weights = doubt.astype(np.float32)
        gains = np.full(len(self._covered), -np.inf, np.float32)
        gains[candidates] = np.maximum(self._covering[candidates] - self._covered, 0) @ weights
        chosen: list[int] = []
        while len(chosen) < count:
            gains[self._repeats] = -np.inf
            row = int(gains.argmax())
            if gains[row] == -np.inf:
                break
            gains[row] = np.maximum(self._covering[row] - self._covered, 0) @ weights
            if gains[row] < gains.max():
                continue
            chosen.append(row)
            np.maximum(self._covered, self._covering[row], out=self._covered)
            self._leave_out_what_repeats(self._plain[[row]])
        return chosen

    def _leave_out_what_repeats(self, others: Vector) -> None:
        self._repeats |= (others @ self._plain.T).max(axis=0) > 1 - DUPLICATE_DISTANCE


def _coverage(some: Vector, others: Vector) -> Vector:
    """Return how well each of `some` (k, d) covers each of `others` (n, d), directions: (k, n), 0..1."""
    return np.asarray(np.maximum(some @ others.T, 0) ** _SHARPNESS, np.float32)
