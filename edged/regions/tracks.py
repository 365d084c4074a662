"""Which box of this frame is which of the frame before: names that stay while a thing moves. Pure.

Boxes are assigned greedily, the best pair first, by their overlap with where each thing should be by now (Bochinski
et al. 2017, "High-Speed Tracking-by-Detection Without Using Image Information"); a small or quick thing that has
left its own box behind is found by its distance. What flickers for a frame or two gets no name.

How long a thing is waited for is counted in time before a quick camera and in frames before a slow one, as frames come.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.regions.boxes import overlap, rounded
from edged.types import Region

if TYPE_CHECKING:
    from edged.types import Box

BIRTH_FRAMES = 3
"""A thing gets its name in the frame in which it is seen for this many times in a row..."""
BIRTH_S = 0.6
"""...or, before a slow camera, as often as goes into so long, but twice at least: what is seen once alone is often
nothing..."""
ALONE_S = 2.0
"""...unless frames are further apart than this: then a thing may well be in one of them alone."""
LOST_S = 0.8
"""A thing that was not seen for so long has ended..."""
LOST_FRAMES = 2.5
"""...but not before so many frames have passed: before a slow camera, one that was not found once is waited for."""
MOST_TRACKS = 64
"""So many things are followed at most: of more, those that were not seen for longest are given up."""
_PERIODS = 9
"""How often frames come is the median of so many periods: a pause of the camera does not change it."""
_LEAST_OVERLAP = 0.15
_LARGEST_STEP, _STEP_S, _STEP_GROWTH = 1.5, 0.1, 2.0
"""In its own size, how far a thing may lie from where it should be; further before a camera whose frames come more than
so long after each other, as the time between them grows, up to so many times."""
_LARGEST_GROWTH = 4.0
"""How many times larger or smaller a thing may be in the next frame."""
_AGILITY = 0.5
"""Weight of the newest step in a thing's speed."""
_LOST_FROM_SIGHT_S, _LOST_FROM_SIGHT_FRAMES = 0.35, 1.5
"""Where a thing should be is guessed for so long after it was seen, and at least for so many frames."""


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


@dataclass(slots=True)
class _Track:
    number: int
    box: Box
    seen_s: float
    seen: int = 1
    missed: int = 0  # in how many frames in a row it was not found
    speed: tuple[float, float] = (0.0, 0.0)  # of the centre, fractions of the frame a second

    def expected(self, now_s: float) -> Box:
        passed = now_s - self.seen_s
        x, y, width, height = self.box
        return x + self.speed[0] * passed, y + self.speed[1] * passed, width, height

    def take(self, box: Box, now_s: float) -> None:
        passed = now_s - self.seen_s
        if passed > 0:
            (x, y), (before_x, before_y) = _centre(box), _centre(self.box)
            weight = _AGILITY if self.seen > 1 else 1.0
            across, down = self.speed
            self.speed = (
                across + weight * ((x - before_x) / passed - across),
                down + weight * ((y - before_y) / passed - down),
            )
        self.box, self.seen_s, self.seen, self.missed = box, now_s, self.seen + 1, 0


class Tracker:
    """Names what moves before one camera. For one thread.

    Args:
        birth_frames: See `BIRTH_FRAMES`.
        lost_s: See `LOST_S`.
        misses: In so many frames in a row a thing may be missed before it has its name. What flickers in two of three
            frames is told from what a detector misses in the third by who proposes the boxes.
    """

    def __init__(self, *, birth_frames: int = BIRTH_FRAMES, lost_s: float = LOST_S, misses: int = 0) -> None:
        self._birth_frames = birth_frames
        self._lost_s = lost_s
        self._misses = misses
        self._tracks: list[_Track] = []
        self._named = 0
        self._periods: deque[float] = deque(maxlen=_PERIODS)
        self._period_s = 0.0
        self._updated_s: float | None = None

    def update(self, boxes: Sequence[Box], now_s: float) -> tuple[Region, ...]:
        """Take the boxes of a frame.

        Args:
            boxes: What was found in it, `MOST_TRACKS` of it at most; the rest is left out.
            now_s: When it was captured, monotonic clock, seconds.

        Returns:
            What has a name and has not ended, whether or not it was found in this frame; the newest first.
        """
        self._count_time(now_s)
        boxes = boxes[:MOST_TRACKS]
        left = dict(enumerate(boxes))
        waiting = dict(enumerate(self._tracks))
        for _, at, which in self._pairs(boxes, now_s):
            if at in left and which in waiting:
                waiting.pop(which).take(left.pop(at), now_s)
        for track in waiting.values():
            track.missed += 1
        self._tracks = [track for track in self._tracks if not self._over(track, now_s)]
        self._tracks += [_Track(0, box, now_s) for box in left.values()]
        if len(self._tracks) > MOST_TRACKS:
            self._tracks = sorted(self._tracks, key=lambda track: -track.seen_s)[:MOST_TRACKS]
        birth_frames = self._birth_frames
        if self._period_s > 0:
            often = 1 + int(BIRTH_S / self._period_s)
            birth_frames = min(birth_frames, often if self._period_s > ALONE_S else max(2, often))
        for track in self._tracks:
            if not track.number and track.seen >= birth_frames:
                self._named += 1
                track.number = self._named
        named = sorted((track for track in self._tracks if track.number), key=lambda track: -track.number)
        return tuple(Region(str(track.number), rounded(track.box), track.number, not track.missed) for track in named)

    def expected(self, now_s: float) -> list[Expected]:
        """Return where what was seen a moment ago should be in a frame that was captured now, monotonic seconds."""
        moment_s = max(_LOST_FROM_SIGHT_S, _LOST_FROM_SIGHT_FRAMES * self._period_s)
        return [
            Expected(track.expected(now_s), track.speed, track.seen)
            for track in self._tracks
            if now_s - track.seen_s < moment_s
        ]

    def _count_time(self, now_s: float) -> None:
        if self._updated_s is not None and now_s > self._updated_s:
            self._periods.append(now_s - self._updated_s)
            self._period_s = sorted(self._periods)[len(self._periods) // 2]
        self._updated_s = now_s

    def _over(self, track: _Track, now_s: float) -> bool:
        if not track.number:
            return track.missed > self._misses
        return track.missed > 0 and now_s - track.seen_s > max(self._lost_s, LOST_FRAMES * self._period_s)

    def _pairs(self, boxes: Sequence[Box], now_s: float) -> list[tuple[float, int, int]]:
        """Return how well which box fits which track, the best pair first."""
        pairs = []
        step = _LARGEST_STEP * min(max(1.0, self._period_s / _STEP_S), _STEP_GROWTH)
        places = [(at, box, *_centre(box), box[2], box[3]) for at, box in enumerate(boxes)]
        for which, track in enumerate(self._tracks):
            last, expected = track.box, track.expected(now_s)
            own_width, own_height = last[2:]
            (x, y), (last_x, last_y) = _centre(expected), _centre(last)
            left, right = (x, last_x) if x < last_x else (last_x, x)
            top, bottom = (y, last_y) if y < last_y else (last_y, y)
            for at, box, across, down, width, height in places:
                # Most pairs are of things that are nowhere near each other: these cost no more than this.
                reach = step * (width if width > own_width else own_width)
                if across > right + reach or across < left - reach:
                    continue
                reach = step * (height if height > own_height else own_height)
                if down > bottom + reach or down < top - reach:
                    continue
                fit = _fit(expected, box, step)
                if last != expected:  # one that has just stopped lies where it was, and not where it was going to
                    fit = max(fit, _fit(last, box, step))
                if fit > 0:
                    pairs.append((fit + bool(track.number), at, which))  # what has a name chooses first
        return sorted(pairs, reverse=True)


def _fit(expected: Box, box: Box, largest_step: float) -> float:
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
    return _LEAST_OVERLAP * (1 - step / largest_step) if step < largest_step else 0.0


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
