"""Which box of this frame is which of the frame before: names that stay while a thing moves. Pure.

Boxes are assigned greedily, the best pair first, by their overlap with where each thing should be by now (Bochinski
et al. 2017, "High-Speed Tracking-by-Detection Without Using Image Information"); a small or quick thing that has
left its own box behind is found by its distance. What flickers for a frame or two gets no name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.regions.boxes import overlap, rounded
from edged.types import Region

if TYPE_CHECKING:
    from edged.types import Box

BIRTH_FRAMES = 3
"""A thing gets its name in the frame in which it is seen for this many times in a row."""
LOST_S = 0.8
"""A thing that was not seen for so long has ended."""
_LEAST_OVERLAP = 0.15
_LARGEST_STEP = 1.5
"""In its own size, how far a thing may lie from where it should be."""
_LARGEST_GROWTH = 4.0
"""How many times larger or smaller a thing may be in the next frame."""
_AGILITY = 0.5
"""Weight of the newest step in a thing's speed."""


_LOST_FROM_SIGHT_S = 0.35
"""Where a thing should be is guessed for so long after it was seen."""


@dataclass(frozen=True)
class Expected:
    """Where a known thing should be by now.

    Attributes:
        box: May reach over the frame's edge.
        speed: Of its centre, fractions of the frame a second.
        seen: In how many frames it was found.
    """

    box: Box
    speed: tuple[float, float]
    seen: int


@dataclass
class _Track:
    number: int
    box: Box
    seen_s: float
    seen: int = 1
    missed: bool = False
    speed: tuple[float, float] = (0.0, 0.0)  # of the centre, fractions of the frame a second

    def expected(self, now_s: float) -> Box:
        passed = now_s - self.seen_s
        x, y, width, height = self.box
        return x + self.speed[0] * passed, y + self.speed[1] * passed, width, height

    def take(self, box: Box, now_s: float) -> None:
        passed = now_s - self.seen_s
        if passed > 0:
            steps = ((_centre(box)[axis] - _centre(self.box)[axis]) / passed for axis in (0, 1))
            weight = _AGILITY if self.seen > 1 else 1.0
            across, down = (before + weight * (step - before) for before, step in zip(self.speed, steps, strict=True))
            self.speed = across, down
        self.box, self.seen_s, self.seen, self.missed = box, now_s, self.seen + 1, False


class Tracker:
    """Names what moves before one camera. For one thread.

    Args:
        birth_frames: See `BIRTH_FRAMES`.
        lost_s: See `LOST_S`.
    """

    def __init__(self, *, birth_frames: int = BIRTH_FRAMES, lost_s: float = LOST_S) -> None:
        self._birth_frames = birth_frames
        self._lost_s = lost_s
        self._tracks: list[_Track] = []
        self._named = 0

    def update(self, boxes: Sequence[Box], now_s: float) -> tuple[Region, ...]:
        """Take the boxes of a frame.

        Args:
            boxes: What was found in it.
            now_s: When it was captured, monotonic clock, seconds.

        Returns:
            What has a name and has not ended, whether or not it was found in this frame; the newest first.
        """
        left = dict(enumerate(boxes))
        waiting = dict(enumerate(self._tracks))
        for _, at, which in self._pairs(boxes, now_s):
            if at in left and which in waiting:
                waiting.pop(which).take(left.pop(at), now_s)
        for track in waiting.values():
            track.missed = True
        self._tracks = [track for track in self._tracks if not self._over(track, now_s)]
        self._tracks += [_Track(0, box, now_s) for box in left.values()]
        for track in self._tracks:
            if not track.number and track.seen >= self._birth_frames:
                self._named += 1
                track.number = self._named
        named = sorted((track for track in self._tracks if track.number), key=lambda track: -track.number)
        return tuple(Region(str(track.number), rounded(track.box), track.number, not track.missed) for track in named)

    def expected(self, now_s: float) -> list[Expected]:
        """Return where what was seen a moment ago should be in a frame that was captured now, monotonic seconds."""
        return [
            Expected(track.expected(now_s), track.speed, track.seen)
            for track in self._tracks
            if now_s - track.seen_s < _LOST_FROM_SIGHT_S
        ]

    def _over(self, track: _Track, now_s: float) -> bool:
        return track.missed and (not track.number or now_s - track.seen_s > self._lost_s)

    def _pairs(self, boxes: Sequence[Box], now_s: float) -> list[tuple[float, int, int]]:
        """Return how well which box fits which track, the best pair first."""
        pairs = []
        for which, track in enumerate(self._tracks):
            expected = track.expected(now_s)
            for at, box in enumerate(boxes):
                # One that has just stopped lies where it was, and not where it was going to.
                fit = max(_fit(expected, box), _fit(track.box, box))
                if fit > 0:
                    pairs.append((fit + bool(track.number), at, which))  # what has a name chooses first
        return sorted(pairs, reverse=True)


def _fit(expected: Box, box: Box) -> float:
    """Return 0..1, how likely it is the same thing; 0: it is not."""
    shared = overlap(expected, box)
    if shared >= _LEAST_OVERLAP:
        return shared
    growth = (box[2] * box[3]) / max(expected[2] * expected[3], 1e-9)
    if not 1 / _LARGEST_GROWTH <= growth <= _LARGEST_GROWTH:
        return 0.0
    (x, y), (other_x, other_y) = _centre(expected), _centre(box)
    width, height = max(expected[2], box[2]), max(expected[3], box[3])
    step = math.hypot((x - other_x) / width, (y - other_y) / height)
    return _LEAST_OVERLAP * (1 - step / _LARGEST_STEP) if step < _LARGEST_STEP else 0.0


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
