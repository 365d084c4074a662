"""Where something moves before a camera that stands still: background subtraction. Pure but for its own memory.

A model of the background keeps several colours for each pixel and learns all the time (Zivkovic 2004, "Improved
Adaptive Gaussian Mixture Model for Background Subtraction", which OpenCV calls MOG2). What does not fit it is
foreground; foreground that touches, or nearly, is one thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edged.regions.boxes import around, intersection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Box, Image

_LONGEST = 288
"""Of the frame's longer side, so many pixels are looked at: a thing of 5 % of it is then 14 pixels wide."""
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
_SAMPLED, _DARK, _FOLLOWED = 10, 8.0, 0.01
"""How bright a frame is, is seen from every so many pixels of every so many rows; so many levels are added to each. How
bright it was follows by so much a frame."""
_FLOOD = 0.6
"""If more of the frame than this is foreground, it is the camera or the light that has changed: learn anew."""


class Motion:
    """Finds the boxes of what moves. For one camera, and one thread."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._size = (0, 0)
        self._subtractor: Any = None
        self._reference: NDArray[np.float32] | None = None
        self._frames = 0
        self._seen_s = 0.0

    def __call__(self, image: Image, now_s: float) -> list[Box]:
        """Take the next frame; return the boxes of what moves in it, the largest first.

        Args:
            image: RGB, (height, width, 3) uint8.
            now_s: When it was captured, monotonic clock, seconds.
        """
        if image.shape != self._shape:
            self._begin(image.shape)
        self._frames += 1
        learning = self._frames <= _LEARNING_FRAMES
        rate = 1 / self._frames if learning else min((now_s - self._seen_s) / _MEMORY_S, 0.5)
        self._seen_s = now_s
        lit = self._lit_as_before(cv2.blur(_small(image, self._size), (3, 3)))
        foreground = self._subtractor.apply(lit, learningRate=rate)
        if learning:
            return []
        if cv2.countNonZero(foreground) > _FLOOD * foreground.size:
            self._begin(image.shape)
            return []
        return self._boxes(foreground)

    def _begin(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape[:2]
        scale = min(1.0, _LONGEST / max(rows, columns))
        self._shape, self._size = shape, (max(1, round(columns * scale)), max(1, round(rows * scale)))
        # Its shadows are left out: what they were taken for was parts of dark things.
        self._subtractor = cv2.createBackgroundSubtractorMOG2(varThreshold=_THRESHOLD, detectShadows=False)
        self._subtractor.setVarThresholdGen(_THRESHOLD)
        self._subtractor.setNMixtures(_COLOURS)
        self._reference = None
        self._frames = 0

    def _lit_as_before(self, small: Any) -> Any:
        """Take off what the light alone does, which is alike everywhere: the median of how much brighter pixels are."""
        # Green is most of what is bright; and the noise of dark pixels, divided by nearly nothing, would be loud.
        sample = small[_SAMPLED // 2 :: _SAMPLED, _SAMPLED // 2 :: _SAMPLED, 1].astype(np.float32) + _DARK
        if self._reference is None or not sample.size:
            self._reference = sample
        # The one in the middle of them: numpy's own median takes three times as long.
        gain = float(np.sort(self._reference / sample, axis=None)[sample.size // 2]) if sample.size else 1.0
        self._reference += _FOLLOWED * (sample * gain - self._reference)
        return cv2.convertScaleAbs(small, alpha=gain, beta=_DARK * (gain - 1))

    def _boxes(self, foreground: Any) -> list[Box]:
        columns, rows = self._size
        cleaned = cv2.morphologyEx(foreground, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        reach = max(3, 2 * round(_NEAR * max(columns, rows)) + 1)
        joined = cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
        outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        placed = [cv2.boundingRect(outline) for outline in outlines]
        found = [
            (x / columns, y / rows, width / columns, height / rows)
            for x, y, width, height in placed
            if width * height >= _SMALLEST * columns * rows
        ]
        return merge(found)


def _small(image: Image, size: tuple[int, int]) -> Image:
    """Shrink a frame: halved as often as that goes, for OpenCV averages four pixels ten times faster than nine."""
    columns, rows = size
    while image.shape[0] >= 2 * rows and image.shape[1] >= 2 * columns and min(image.shape[:2]) > 1:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(
            cv2.resize(image[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA), np.uint8
        )
    if image.shape[:2] == (rows, columns):
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


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
