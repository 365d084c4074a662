"""Where something moves before a camera that stands still: background subtraction. Pure but for its own memory.

A model of the background keeps several colours for each pixel and learns all the time (Zivkovic 2004, "Improved
Adaptive Gaussian Mixture Model for Background Subtraction", which OpenCV calls MOG2). What does not fit it is
foreground. Parts of a thing that resemble the background fit it; they are found by what they change: a pixel that
differs from the frame before, and from the mean of the background, too, is foreground as well. The first of these alone
would add what a thing has just left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edged.regions import apart
from edged.scaling import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edged.regions.tracks import Expected
    from edged.types import Box, Image

_LONGEST = 160
"""Of the frame's longer side, so many pixels are looked at: a thing of 5 % of it is then 8 pixels wide. The time that
this takes grows with their number."""
_ROWS = 2
"""Of a frame that is much larger, so many rows are read for one that is looked at."""
_MEMORY_S = 8.0
"""Time constant of the background's learning. What stops becomes background after a tenth of it: to MOG2, that is what
was there for a tenth of the time."""
_MEAN_S = 1.0
"""Time constant of the background's mean, which does not learn what is foreground."""
_THRESHOLD = 40.0
"""Squared distance from a background colour, in its variances, above which a pixel is foreground."""
_COLOURS = 3
"""Of a pixel's background, at most."""
_CHANGED, _UNLIKE = 12, 10
"""Levels of a colour by which a pixel differs from the frame before, and from the background's mean."""
_LEARNING_FRAMES = 12
"""Of a background that is new, nothing is told for so many frames."""
_SAMPLED, _DARK, _FOLLOWED = 5, 8.0, 0.01
"""How bright a frame is, is seen from every so many pixels of every so many rows; so many levels are added to each.
What is bright in it, and what dark, follows by so much a frame; how bright it is as a whole does not."""
_LEAST_GAIN, _MOST_GAIN = 0.25, 3.0
"""Light that makes a frame brighter or darker than this is not taken off, but learned anew: noise would be amplified,
and a scene that was begun in the dark be pressed into a few levels for good."""
_NINE = np.ones((3, 3), np.uint8)
_FLOOD = 0.6
"""If more of the frame than this is foreground, it is the camera or the light that has changed: learn anew."""


class Motion:
    """Finds the boxes of what moves. For one camera, and one thread."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._size = (0, 0)
        self._subtractor: Any = None
        self._reference: NDArray[np.float32] | None = None
        self._before: Any = None
        self._mean: Any = None
        self._frames = 0
        self._seen_s = 0.0

    def __call__(self, image: Image, now_s: float, expected: Sequence[Expected] = ()) -> list[Box]:
        """Take the next frame; return the boxes of what moves in it, the largest first.

        Args:
            image: RGB, (height, width, 3) uint8.
            now_s: When it was captured, monotonic clock, seconds.
            expected: Where known things should be in it, so that two that touch stay two.
        """
        if image.shape != self._shape:
            self._begin(image.shape)
        self._frames += 1
        learning = self._frames <= _LEARNING_FRAMES
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        rate = 1 / self._frames if learning else min(passed_s / _MEMORY_S, 0.5)
        small = shrink(image, *self._size, rows=_ROWS)
        gain = self._gain(small)
        if not _LEAST_GAIN <= gain <= _MOST_GAIN:
            self._begin(image.shape)
            return []
        lit = cv2.convertScaleAbs(small, alpha=gain, beta=_DARK * (gain - 1))
        foreground = self._subtractor.apply(lit, learningRate=rate)
        if not learning and cv2.countNonZero(foreground) > _FLOOD * foreground.size:
            self._begin(image.shape)
            return []
        moves = cv2.bitwise_or(foreground, self._changed(lit, max(1.0, gain)))
        self._before = lit
        mean_rate = 1 / self._frames if learning else min(passed_s / _MEAN_S, 0.5)
        cv2.accumulateWeighted(lit, self._mean, mean_rate, mask=None if learning else cv2.bitwise_not(foreground))
        if learning:
            return []
        # The majority of nine fills a thing's holes and leaves out single pixels; what is thinner than three is none.
        cleaned = cv2.morphologyEx(_majority(moves), cv2.MORPH_OPEN, _NINE)
        return apart.boxes(np.asarray(cleaned, np.uint8), expected)

    def _begin(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape[:2]
        scale = min(1.0, _LONGEST / max(rows, columns))
        self._shape, self._size = shape, (max(1, round(columns * scale)), max(1, round(rows * scale)))
        # Its shadows are left out: what they were taken for was parts of dark things.
        self._subtractor = cv2.createBackgroundSubtractorMOG2(varThreshold=_THRESHOLD, detectShadows=False)
        self._subtractor.setVarThresholdGen(_THRESHOLD)
        self._subtractor.setNMixtures(_COLOURS)
        self._reference = None
        self._before = None
        self._mean = np.zeros((self._size[1], self._size[0], 3), np.float32)
        self._frames = 0

    def _gain(self, small: Any) -> float:
        """Return by how much a frame is to be brightened to be lit as before: the median of how much darker it is."""
        # Green is most of what is bright; and the noise of dark pixels, divided by nearly nothing, would be loud.
        sample = small[_SAMPLED // 2 :: _SAMPLED, _SAMPLED // 2 :: _SAMPLED, 1].astype(np.float32)
        sample += _DARK
        if self._reference is None or not sample.size:
            self._reference = sample.copy()
        gain = 1.0
        if sample.size:
            # The one in the middle of them: numpy's own median takes three times as long.
            darker = (self._reference / sample).ravel()
            darker.partition(sample.size // 2)
            gain = float(darker[sample.size // 2])
        sample *= gain
        sample -= self._reference
        sample *= _FOLLOWED
        self._reference += sample
        return gain

    def _changed(self, lit: Any, noisier: float) -> Any:
        """Return where a frame differs from the one before it and from the background's mean.

        Args:
            lit: The frame.
            noisier: So many times, since noise is amplified with it.
        """
        before = lit if self._before is None else self._before
        mean = cv2.convertScaleAbs(self._mean)
        # The lesser of two is not 0 where neither is.
        changed = cv2.min(_differs(lit, before, noisier * _CHANGED), _differs(lit, mean, noisier * _UNLIKE))
        return cv2.threshold(changed, 0, 255, cv2.THRESH_BINARY)[1]


def _majority(mask: Any) -> Any:
    """Return what most of each pixel's nine neighbours and itself are: the median, in less time."""
    return cv2.threshold(cv2.blur(mask, (3, 3), borderType=cv2.BORDER_REPLICATE), 127, 255, cv2.THRESH_BINARY)[1]


def _differs(one: Any, other: Any, levels: float) -> Any:
    """Return what is not 0 where a colour differs by more than so many levels."""
    differs = cv2.threshold(cv2.absdiff(one, other), math.floor(levels), 255, cv2.THRESH_BINARY)[1]
    return cv2.cvtColor(differs, cv2.COLOR_RGB2GRAY)  # 29 and more where one of the three is 255
