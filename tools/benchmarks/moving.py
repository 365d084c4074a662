"""Scenes in which the place and the label of every moving thing are known: real photos that move over real clips.

A photo of ImageNet is pasted as a rectangle, or cut out as an ellipse, and moves over the frames of a clip, which go on
behind it with all that moves there. Noise is added to every pixel, and the light changes, slowly and all at once.
Everything follows from a seed.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.set_aside import Side, side_of_file
from edged.codec import decode, read_file
from edged.regions.boxes import intersection
from edged.types import Box

CLIPS = {
    # Name → file, every which frame is taken, and for each side of the data the frames that it may use: what is chosen
    # is chosen on the first half of one clip; the other clip and the second half judge.
    "bottles": ("bottle-detection.mp4", 2, {"develop": (0, 590), "report": (600, 1189)}),
    "cars": ("car-detection.mp4", 1, {"report": (0, 377)}),
}
FPS = {"bottles": 29.83 / 2, "cars": 12.5}
WARM_UP = 40
"""Frames before the first thing comes, in which only the clip moves."""
SCENE = 140
SIZES = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Widths of things, as shares of the frame's."""
NOISE = 6.0
"""Standard deviation of each pixel's noise, of 255 levels."""
_SWING, _SWING_S, _STEP = 0.15, 4.0, 0.2
"""The light swings by so much in so many seconds, and once it grows or falls by so much from one frame to the next."""
_OWN_LEVELS, _OWN_FRAMES = 18, 12
"""What differs by so many levels from any of so many frames before and after is the clip's own motion."""
LOOKED_AT = 200
"""So many photos of a side, the first ones, are not in a fresh draw: what was built was looked at on these."""
VISIBLE = 0.6
"""A thing is looked for where so much of it is inside the frame."""


@dataclass(frozen=True)
class Thing:
    """A photo that moves.

    Attributes:
        label: Number of its class.
        photo: RGB, as it was read.
        width: Share of the frame's.
        oval: Whether it is cut out.
    """

    label: int
    file: str
    photo: NDArray[np.uint8]
    width: float
    oval: bool


@dataclass(frozen=True)
class Truth:
    """Where a thing is in a frame: `box` is the part of it inside, `whole` whether enough is to be looked for."""

    thing: int
    box: Box
    whole: bool


@dataclass(frozen=True)
class View:
    """A frame of a scene.

    Attributes:
        image: RGB.
        at_s: When it is seen.
        truths: Of the things in it.
        own: (height, width) small, bool: where the clip itself moves.
        warm: Whether things have begun to come.
    """

    image: NDArray[np.uint8]
    at_s: float
    truths: list[Truth]
    own: NDArray[np.bool_]
    warm: bool


def labeled_photos(data: Path, side: Side) -> list[tuple[str, int]]:
    """Return file and class of ImageNet's photos of one side, in an order that is always the same."""
    rows = list(csv.DictReader((data / "imagenet" / "labels.csv").read_text(encoding="utf-8").splitlines()))
    rows.sort(key=lambda row: hashlib.sha256(row["file"].encode()).hexdigest())
    return [
        (row["file"], int(row["class_index"])) for row in rows if side_of_file(data / "imagenet" / row["file"]) == side
    ]


def things(data: Path, side: Side, count: int, *, draw: int = 0) -> Iterator[Thing]:
    """Yield things of all sizes in turn, half of them cut out.

    Args:
        data: Folder of the measurement's data.
        side: Of the photos.
        count: How many.
        draw: 0: the first photos; another number: of all others, the first in an order that follows from it.
    """
    photos = labeled_photos(data, side)
    if draw:
        photos = photos[LOOKED_AT:]
        photos = [photos[at] for at in np.random.default_rng(draw).permutation(len(photos))]
    made = 0
    for file, label in photos:
        if made == count:
            return
        image = decode(read_file(data / "imagenet" / file))
        if not 0.6 < image.shape[1] / image.shape[0] < 2:
            continue
        yield Thing(label, file, image, SIZES[made % len(SIZES)], oval=bool(made // len(SIZES) % 2))
        made += 1


def backdrop(data: Path, clip: str, side: Side) -> list[NDArray[np.uint8]]:
    """Return the frames of a clip that a side may use, RGB."""
    name, every, parts = CLIPS[clip]
    first, end = parts[side]
    video = cv2.VideoCapture(str(data / "clips" / name))
    frames = []
    for number in range(end):
        seen, frame = video.read()
        if not seen:
            break
        if number >= first and (number - first) % every == 0:
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames


class Scene:
    """Some things that move over a stretch of a clip.

    Args:
        frames: The clip, at least `WARM_UP + SCENE` frames; a shorter one is played back and forth.
        fps: Of the clip.
        moving: One or two things.
        seed: Of where the stretch begins, the ways, the light and the noise; one number or several.
    """

    def __init__(
        self, frames: Sequence[NDArray[np.uint8]], fps: float, moving: Sequence[Thing], seed: int | Sequence[int]
    ) -> None:
        self._random = random = np.random.default_rng(seed)
        self._fps, self.things = fps, list(moving)
        there_and_back = [*frames, *reversed(frames[1:-1])]
        start = int(random.integers(len(there_and_back)))
        self._frames = [there_and_back[(start + at) % len(there_and_back)] for at in range(WARM_UP + SCENE)]
        self._own = _own_motion(self._frames)
        self._phase, self._jump_at = random.uniform(0, 2 * math.pi), int(random.integers(WARM_UP, WARM_UP + SCENE))
        self._jump = 1 + _STEP * random.choice([-1, 1])
        rows, columns = frames[0].shape[:2]
        self._noise = random.normal(0, NOISE, (rows + 64, columns + 64, 3)).astype(np.float32)
        self._pasted = [self._prepare(thing, rows, columns) for thing in self.things]
        self._ways = [self._way(at, rows, columns) for at in range(len(self.things))]

    def __iter__(self) -> Iterator[View]:
        for at, clean in enumerate(self._frames):
            image = clean.copy()
            truths = []
            if at >= WARM_UP:
                for number, ((photo, alpha), way) in enumerate(zip(self._pasted, self._ways, strict=True)):
                    truth = _paste(image, photo, alpha, way[at - WARM_UP])
                    if truth is not None:
                        truths.append(Truth(number, *truth))
            yield View(self._seen(image, at), at / self._fps, truths, self._own[at], at >= WARM_UP)

    def _seen(self, image: NDArray[np.uint8], at: int) -> NDArray[np.uint8]:
        light = 1 + _SWING * math.sin(2 * math.pi * at / (_SWING_S * self._fps) + self._phase)
        if at >= self._jump_at:
            light *= self._jump
        down, across = self._random.integers(0, 64, 2)
        rows, columns = image.shape[:2]
        noisy = image * np.float32(light) + self._noise[down : down + rows, across : across + columns]
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def _prepare(self, thing: Thing, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tall, wide = thing.photo.shape[:2]
        width = round(thing.width * columns)
        height = min(round(width * tall / wide), round(0.85 * rows))
        photo = cv2.resize(thing.photo, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        alpha = np.ones((height, width), np.float32)
        if thing.oval:
            alpha = np.zeros((height, width), np.float32)
            cv2.ellipse(alpha, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1.0, -1)
        return photo, alpha[:, :, np.newaxis]

    def _way(self, number: int, rows: int, columns: int) -> list[tuple[float, float]]:
        """Return where the upper left corner is in each frame: each thing crosses in a lane of its own."""
        random, (photo, _) = self._random, self._pasted[number]
        height, width = photo.shape[:2]
        lanes = len(self.things)
        top, bottom = rows * number / lanes, rows * (number + 1) / lanes
        speed = random.uniform(0.006, 0.02) * columns
        forward = random.random() < 0.5
        y0, y1 = (random.uniform(top, max(top, bottom - height)) for _ in range(2))
        y0, y1 = min(y0, rows - height), min(y1, rows - height)
        wave = random.uniform(0, 0.02) * rows
        way = []
        for at in range(SCENE):
            x = -width + speed * at
            share = at / SCENE
            y = y0 + (y1 - y0) * share + wave * math.sin(at / 5)
            way.append((x if forward else columns - width - x, min(max(y, 0.0), rows - height)))
        return way


def _paste(
    image: NDArray[np.uint8], photo: NDArray[np.float32], alpha: NDArray[np.float32], corner: tuple[float, float]
) -> tuple[Box, bool] | None:
    """Paste a thing; return the box of its part inside the frame, and whether that is enough. None: it is outside."""
    rows, columns = image.shape[:2]
    height, width = photo.shape[:2]
    x, y = round(corner[0]), round(corner[1])
    left, right, top, bottom = max(x, 0), min(x + width, columns), max(y, 0), min(y + height, rows)
    if right <= left or bottom <= top:
        return None
    part = alpha[top - y : bottom - y, left - x : right - x]
    there = np.flatnonzero(part[:, :, 0].any(axis=0)), np.flatnonzero(part[:, :, 0].any(axis=1))
    if not there[0].size:
        return None
    over = photo[top - y : bottom - y, left - x : right - x]
    image[top:bottom, left:right] = over * part + image[top:bottom, left:right] * (1 - part)
    left, right = left + int(there[0][0]), left + int(there[0][-1]) + 1
    top, bottom = top + int(there[1][0]), top + int(there[1][-1]) + 1
    box = left / columns, top / rows, (right - left) / columns, (bottom - top) / rows
    return box, (right - left) * (bottom - top) >= VISIBLE * width * height


def _own_motion(frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.bool_]]:
    """Return for each frame where the clip itself moves, from the clean frames before and after it."""
    small: list[Any] = [
        cv2.GaussianBlur(
            cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (160, 90), interpolation=cv2.INTER_AREA), (3, 3), 0
        ).astype(np.int16)
        for frame in frames
    ]
    found = []
    for at, frame in enumerate(small):
        near = small[max(0, at - _OWN_FRAMES) : at + _OWN_FRAMES + 1]
        moved = np.max([np.abs(other - frame) for other in near], axis=0) > _OWN_LEVELS
        found.append(cv2.dilate(moved.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool))
    return found


def is_own(box: Box, own: NDArray[np.bool_]) -> bool:
    """Tell whether a region shows what moves in the clip itself: a quarter of it does."""
    rows, columns = own.shape
    left, top = int(box[0] * columns), int(box[1] * rows)
    right, bottom = math.ceil((box[0] + box[2]) * columns), math.ceil((box[1] + box[3]) * rows)
    return bool(own[top:bottom, left:right].mean() >= 0.25) if right > left and bottom > top else False


def hidden(truth: Truth, truths: Sequence[Truth]) -> bool:
    """Tell whether a thing pasted later covers a fifth of it."""
    area = truth.box[2] * truth.box[3]
    return any(other.thing > truth.thing and intersection(other.box, truth.box) > 0.2 * area for other in truths)
