"""Boxes of a mask of what moves: what were two things a moment ago stay two where their outlines touch. Pure.

Two things that pass each other, or one that passes before something else that moves, are one patch of foreground.
Where each of them should be by now is known from its track: a pixel there is its own, and the box of its pixels is its
box. An edge before the still background is thereby seen; one before the other thing is where it is expected to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edged.regions.boxes import area, around, intersection, meet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.regions.tracks import Expected
    from edged.types import Box

    Mask = NDArray[np.uint8]
    Corners = tuple[float, float, float, float]  # left, top, right, bottom

SMALLEST = 0.0007
"""Of the frame, the least area of a thing."""
MOST = 64
"""Of a mask's patches, only so many of the largest are looked at: rain, or a flickering screen, may be hundreds."""
_MOST_KNOWN = 16
"""So many known things are kept apart in one patch: those that were seen most often."""
_KNOWN = 5
"""For so many frames a thing was seen before it is kept apart from what it touches."""
_INSIDE = 0.6
"""So much of where a thing should be lies in a patch that it is part of."""
_GROWN = 1.6
"""A patch so many times larger than the one thing in it is that thing and something else."""
_REACH, _REACH_PIXELS = 0.03, 1
"""A thing may reach over each side of where it should be by this share of itself, and at least so many pixels."""
_SUPPORT = 0.3
"""Where the pixels of a thing fill less than this of where it should be, it is not seen."""
_THINNEST = 3
"""Pixels; what is left over of a patch and thinner than that is no thing."""
_ALIKE = 0.3
"""Two that differ in speed by less than this share of it move alike; they are one if they also fill a box..."""
_FILLED = 0.75
"""...to this share."""
_SLOWEST = 0.02
"""Frames a second: what is slower stands still, and differences of its speed are noise."""
_MOSTLY = 0.5
_SWALLOWED = 0.5
"""A patch is part of another one if so much of its box lies in the other's box."""


def boxes(mask: Mask, expected: Sequence[Expected]) -> list[Box]:
    """Return the boxes of a mask's patches, those that hold known things taken apart; the largest first.

    Args:
        mask: (height, width) uint8, what moves is not 0.
        expected: Where known things should be by now.
    """
    rows, columns = mask.shape
    whole: list[Box] = []
    parts: list[Box] = []
    steady = [(one, area(one.box)) for one in expected if one.seen >= _KNOWN]
    for outline, (x, y, width, height) in _patches(mask):
        box = x / columns, y / rows, width / columns, height / rows
        known = [one for one, size in steady if meet(one.box, box) and intersection(one.box, box) >= _INSIDE * size]
        if len(known) > _MOST_KNOWN:
            known = sorted(known, key=lambda one: -one.seen)[:_MOST_KNOWN]
        known = _distinct(known)
        if _is_more_than(known, box):
            patch = np.zeros((height, width), np.uint8)
            cv2.drawContours(patch, [outline], -1, (255,), -1, offset=(-x, -y))
            patch = np.asarray(cv2.bitwise_and(patch, mask[y : y + height, x : x + width]), np.uint8)
            corners = [
                (left * columns - x, top * rows - y, (left + wide) * columns - x, (top + high) * rows - y)
                for left, top, wide, high in (one.box for one in known)
            ]
            parts += [
                ((x + left) / columns, (y + top) / rows, wide / columns, high / rows)
                for left, top, wide, high in _take_apart(patch, corners, SMALLEST * columns * rows)
            ]
        else:
            whole.append(box)
    return sorted(merge(whole) + parts, key=area, reverse=True)


def _patches(mask: Mask) -> list[tuple[Any, Sequence[int]]]:
    """Return the outlines of a mask's patches, and x, y, width, height of each; without the smallest of them."""
    least = SMALLEST * mask.size
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = [(outline, box) for outline in outlines if (box := cv2.boundingRect(outline))[2] * box[3] >= least]
    if len(found) > MOST:
        found.sort(key=lambda one: -one[1][2] * one[1][3])
    return found[:MOST]


def _is_more_than(known: Sequence[Expected], box: Box) -> bool:
    """Tell whether a patch holds known things and something else, which may be another known thing."""
    return len(known) > 1 or (len(known) == 1 and area(box) > _GROWN * area(known[0].box))


def _distinct(known: Sequence[Expected]) -> list[Expected]:
    """Make one of what was found in two places of the same thing: one lies in the other, or moves along with it."""
    kept: list[Expected] = []
    for one in sorted(known, key=lambda one: -area(one.box)):
        for at, other in enumerate(kept):
            if _is_one(one, other):
                kept[at] = replace(one if one.seen > other.seen else other, box=around(one.box, other.box))
                break
        else:
            kept.append(one)
    return kept


def _is_one(small: Expected, large: Expected) -> bool:
    shared = intersection(small.box, large.box)
    if shared > _MOSTLY * area(small.box):
        return True
    fastest = max(math.hypot(*small.speed), math.hypot(*large.speed), _SLOWEST)
    if math.dist(small.speed, large.speed) >= _ALIKE * fastest:
        return False
    return area(small.box) + area(large.box) - shared > _FILLED * area(around(small.box, large.box))


def _take_apart(patch: Mask, things: Sequence[Corners], smallest: float) -> list[tuple[int, int, int, int]]:
    """Return x, y, width, height of each thing's pixels in a patch, and of what is left over."""
    found = []
    rest: Any = patch.copy()
    for number, (left, top, right, bottom) in enumerate(things):
        across, down = (max(_REACH_PIXELS, _REACH * length) for length in (right - left, bottom - top))
        near = _window((left - across, top - down, right + across, bottom + down), patch)
        mine = np.zeros_like(patch)
        mine[near] = patch[near]
        # Around it, a pixel belongs to the one that is expected there; in both, to both.
        for other in (*things[:number], *things[number + 1 :]):
            mine[_window(other, patch)] = 0
        inside = _window((left, top, right, bottom), patch)
        mine[inside] = patch[inside]
        rest[near] = 0
        seen = cv2.boundingRect(mine)
        if seen[2] * seen[3] > _SUPPORT * (right - left) * (bottom - top):
            found.append((seen[0], seen[1], seen[2], seen[3]))
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(rest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for outline in outlines:
        x, y, width, height = cv2.boundingRect(outline)
        # A rim of the things is none, nor is what the patch's own edge has kept from being opened.
        if width * height >= 2 * smallest and min(width, height) >= _THINNEST:
            found.append((x, y, width, height))
    return found


def _window(corners: Corners, patch: Mask) -> tuple[slice, slice]:
    rows, columns = patch.shape
    left, right = (min(max(round(side), 0), columns) for side in (corners[0], corners[2]))
    top, bottom = (min(max(round(side), 0), rows) for side in (corners[1], corners[3]))
    return slice(top, bottom), slice(left, right)


def merge(boxes: list[Box]) -> list[Box]:
    """Make one of boxes that lie mostly in each other, until none do; the largest first."""
    left = sorted(boxes, key=area, reverse=True)
    merged: list[Box] = []
    while left:
        box = left.pop(0)
        for at, other in enumerate(left):
            if meet(box, other) and intersection(box, other) >= _SWALLOWED * area(other):
                left[at] = around(box, other)
                left.sort(key=area, reverse=True)
                break
        else:
            merged.append(box)
    return merged
