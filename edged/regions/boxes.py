"""Boxes: how much two of them share, and what is cut out of a frame for a network to look at. Pure.

A box is x, y, width, height as fractions of the frame: that survives every change of the frame's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.types import Box, Image

MARGIN = 8 / 7
"""A crop's side is so many times the longer side of its box: a network looks at the central 7/8 of what it is given,
see `vision.preprocess`, so that it sees the box, and all of it."""


def area(box: Box) -> float:
    """Return the area of a box, as a fraction of the frame."""
    return box[2] * box[3]


def intersection(one: Box, other: Box) -> float:
    """Return the area that two boxes share, as a fraction of the frame."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def meet(one: Box, other: Box) -> bool:
    """Tell whether two boxes share anything: most do not, and this takes less time than their intersection."""
    return (
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
    )


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes, 0..1 (Jaccard 1912)."""
    shared = intersection(one, other)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0


def around(one: Box, other: Box) -> Box:
    """Return the smallest box that holds both."""
    x, y = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return x, y, right - x, bottom - y


def rounded(box: Box) -> Box:
    """Return a box as it is told: four digits are half a pixel of a frame 5,000 wide."""
    x, y, width, height = box
    return (
        round(min(max(x, 0.0), 1.0), 4),
        round(min(max(y, 0.0), 1.0), 4),
        round(min(max(width, 0.0), 1.0), 4),
        round(min(max(height, 0.0), 1.0), 4),
    )


def crop(image: Image, box: Box) -> Image:
    """Cut out what a network is to look at: square and a little larger than the box, so that nothing is distorted.

    At the frame's edge the square is pushed inside; where the frame is too small for it, it is cut off.

    Args:
        image: RGB, (height, width, 3) uint8.
        box: Of the thing.

    Returns:
        A view of `image`, at least one pixel.
    """
    rows, columns = image.shape[:2]
    x, y, width, height = box[0] * columns, box[1] * rows, box[2] * columns, box[3] * rows
    side = max(width, height, 1.0) * MARGIN
    left, right = _span(x + width / 2, side, columns)
    top, bottom = _span(y + height / 2, side, rows)
    return image[top:bottom, left:right]


def _span(centre: float, length: float, pixels: int) -> tuple[int, int]:
    """Return the first pixel and the one after the last of a stretch that stays inside 0..pixels."""
    whole = max(1, min(round(length), pixels))
    first = min(max(round(centre - whole / 2), 0), pixels - whole)
    return first, first + whole
