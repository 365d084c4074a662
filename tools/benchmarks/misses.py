"""Why a thing was not found where it is: what of the boxes that were proposed lay on it, and on what else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.moving import Truth, View
from edged.regions.boxes import area, around, intersection, overlap

if TYPE_CHECKING:
    from edged.types import Box

CAUSES = {
    "other": "one box with another thing",
    "own": "one box with what moves in the clip",
    "large": "the box is too large",
    "split": "several boxes, right together",
    "part": "a part of it alone",
    "nothing": "no box on it",
    "track": "a right box that its track did not take",
}
_TOUCHES, _HELD, _LARGER, _OWN = 0.05, 0.5, 1.2, 0.15
"""Shares: of a thing in a box that lies on it, and in one that holds it; a box that is larger than the thing; and of
what such a box holds beside the thing, so much moves in the clip."""


def cause(view: View, truth: Truth, proposed: Sequence[Box], match: float) -> str:
    """Return which of `CAUSES` it was.

    Args:
        view: The frame.
        truth: The thing, which no region shows.
        proposed: Boxes before they were tracked.
        match: The overlap from which on a box is right.
    """
    thing = truth.box
    if any(overlap(box, thing) >= match for box in proposed):
        return "track"
    touching = [box for box in proposed if intersection(box, thing) > _TOUCHES * area(thing)]
    if not touching:
        return "nothing"
    best = max(touching, key=lambda box: intersection(box, thing))
    if intersection(best, thing) >= _HELD * area(thing) and area(best) > _LARGER * area(thing):
        others = [other.box for other in view.truths if other.thing != truth.thing]
        if any(intersection(best, other) > _HELD * area(other) for other in others):
            return "other"
        beside = _pixels(best, view.own.shape) & ~_pixels(thing, view.own.shape)
        return "own" if beside.any() and view.own[beside].mean() > _OWN else "large"
    return "split" if overlap(reduce(around, touching), thing) >= match else "part"


def _pixels(box: Box, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    rows, columns = shape
    inside = np.zeros(shape, np.bool_)
    left, top = int(box[0] * columns), int(box[1] * rows)
    inside[top : math.ceil((box[1] + box[3]) * rows), left : math.ceil((box[0] + box[2]) * columns)] = True
    return inside
