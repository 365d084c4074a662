"""Where something moves before a camera that stands still: background subtraction. Pure but for its own memory.

A model of the background keeps several colours for each pixel and learns all the time (Zivkovic 2004, "Improved
Adaptive Gaussian Mixture Model for Background Subtraction", which OpenCV calls MOG2). What does not fit it is
foreground; foreground that touches, or nearly, is one thing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edged.regions.boxes import around, intersection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Box, Image

_LONGEST = 320
"""Of the frame's longer side, so many pixels or fewer are looked at: a thing of 5 % of it is then 16 pixels wide."""
_MEMORY_S = 8.0
"""Time constant of the background's learning. What stops becomes background after a tenth of it: to MOG2, that is what
was there for a tenth of the time."""
_THRESHOLD = 40.0
"""Squared distance from a background colour, in its variances, above which a pixel is foreground."""
_COLOURS = 3
"""Of a pixel's background, at most."""
_LEARNING_FRAMES = 12
"""Of a background that is new, nothing is told for so many frames."""
_SMALLEST = 0.0007
"""Of the frame, the least area of a thing."""
_NEAR = 0.012
"""Parts that are nearer than this share of the longer side are one thing."""
_FLOOD = 0.6
"""If more of the frame than this is foreground, it is the camera or the light that has changed: learn anew."""


class Motion:
    """Finds the boxes of what moves. For one camera, and one thread."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._size, self._factor = (0, 0), 1
        self._subtractor: Any = None
        self._reference: NDArray[np.float32] | None = None
        self._frames = 1
        self._seen_s = 0.0
        self._rate = 1.0

    def __call__(self, image: Image, now_s: float) -> list[Box]:
        """Take the next frame; return the boxes of what moves in it, the largest first.

        Args:
            image: RGB, (height, width, 3) uint8.
            now_s: When it was captured, monotonic clock, seconds.
        """
        if image.shape != self._shape:
            self._begin(image.shape)
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        self._rate = 1 / self._frames if self._frames <= _LEARNING_FRAMES else min(passed_s / _MEMORY_S, 0.5)
        columns, rows = (side * self._factor for side in self._size)
        small = cv2.resize(image[:rows, :columns], self._size, interpolation=cv2.INTER_AREA)
        small = cv2.blur(small, (3, 3))
        foreground = self._subtractor.apply(self._lit_as_before(small), learningRate=self._rate)
        self._frames += 1
        if self._frames <= _LEARNING_FRAMES:
            return []
        if cv2.countNonZero(foreground) > _FLOOD * foreground.size:
            self._begin(image.shape)
            return []
        return self._boxes(foreground)

    def _begin(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape[:2]
        # A whole number: averaging over squares of pixels takes a tenth of the time of averaging over parts of them.
        self._factor = max(1, min(math.ceil(max(rows, columns) / _LONGEST), rows, columns))
        self._shape, self._size = shape, (columns // self._factor, rows // self._factor)
        # Its shadows are left out: what they were taken for was parts of dark things.
        self._subtractor = cv2.createBackgroundSubtractorMOG2(varThreshold=_THRESHOLD, detectShadows=False)
        self._subtractor.setVarThresholdGen(_THRESHOLD)
        self._subtractor.setNMixtures(_COLOURS)
        self._reference = None
        self._frames = 1

    def _lit_as_before(self, small: Any) -> Any:
        """Take off what the light alone does, which is alike everywhere: the median of how much brighter pixels are."""
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[::4, ::4].astype(np.float32)
        if self._reference is None:
            self._reference = grey
        gain = float(np.median((self._reference + 8) / (grey + 8)))
        lit = cv2.convertScaleAbs(small, alpha=gain, beta=8 * (gain - 1))
        self._reference += self._rate * (grey * gain + 8 * (gain - 1) - self._reference)
        return lit

    def _boxes(self, foreground: Any) -> list[Box]:
        columns, rows = self._size
        cleaned = cv2.morphologyEx(foreground, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        reach = max(3, 2 * round(_NEAR * max(columns, rows)) + 1)
        joined = cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
        count, _, stats, _ = cv2.connectedComponentsWithStats(joined)
        found = [
            (x / columns, y / rows, width / columns, height / rows)
            for x, y, width, height, area in stats[1:count].tolist()
            if area >= _SMALLEST * columns * rows
        ]
        return merge(found)


def merge(boxes: list[Box]) -> list[Box]:
    """Make one of boxes that lie mostly in each other, until none do; the largest first."""
    left = sorted(boxes, key=_area, reverse=True)
    merged: list[Box] = []
    while left:
        box = left.pop(0)
        for at, other in enumerate(left):
            if intersection(box, other) >= 0.5 * _area(other):
                left[at] = around(box, other)
                left.sort(key=_area, reverse=True)
                break
        else:
            merged.append(box)
    return merged


def _area(box: Box) -> float:
    return box[2] * box[3]
