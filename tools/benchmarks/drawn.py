"""Pictures drawn from a seed, and faults put into photos: what no network here was taught to look at by ImageNet.

Pure: numbers in, RGB (height, width, 3) uint8 out. The same label and seed give the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Draw = Callable[[str, np.random.Generator], Picture]

SIDE = 160
"""Width and height of a drawn picture, pixels."""
_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgcde", "abc", "abcdefg", "abcdfg")
_SEGMENT_ENDS = {
    "a": ((0, 0), (1, 0)), "b": ((1, 0), (1, 1)), "c": ((1, 1), (1, 2)), "d": ((0, 2), (1, 2)),
    "e": ((0, 1), (0, 2)), "f": ((0, 0), (0, 1)), "g": ((0, 1), (1, 1)),
}  # fmt: skip
"""Where the segments of a digit begin and end: column 0 or 1, row 0 to 2."""


def draw(kind: str, label: str, seed: int) -> Picture:
    """Draw one picture of a label of `KINDS[kind]`."""
    random = np.random.default_rng([seed, *kind.encode(), *label.encode()])
    return KINDS[kind][1](label, random)


def spoil(photo: Picture, fault: str, seed: int) -> Picture:
    """Return a photo as a camera with a fault would have taken it: one of `FAULTS`."""
    random = np.random.default_rng([seed, *fault.encode()])
    if fault == "out of focus":
        return np.asarray(cv2.GaussianBlur(photo, (0, 0), random.uniform(1.2, 2.5)), np.uint8)
    if fault == "shaken":
        length, angle = int(random.integers(5, 12)), random.uniform(0, 180)
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle, 1.0)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        return np.asarray(cv2.filter2D(photo, -1, kernel / max(float(kernel.sum()), 1e-6)), np.uint8)
    if fault == "noisy":
        return _noisy(photo, random, random.uniform(9, 22))
    if fault == "dark":
        return np.asarray(np.clip(photo.astype(np.float32) * random.uniform(0.25, 0.6), 0, 255), np.uint8)
    return photo


def turn(photo: Picture, label: str) -> Picture:
    """Return the middle square of a photo, turned by the quarter turns that the label names: one of `TURNS`."""
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return np.ascontiguousarray(np.rot90(photo[top : top + side, left : left + side], TURNS.index(label)))


def zoom(photo: Picture, label: str) -> Picture:
    """Return the middle of a photo, which a longer lens would have taken: one of `ZOOMS`."""
    part = {"wide": 1.0, "medium": 0.6, "close": 0.35}[label]
    height, width = (max(1, round(part * side)) for side in photo.shape[:2])
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def compress(photo: Picture, label: str) -> Picture:
    """Return a photo as it looks after it was stored with the JPEG quality that the label names: of `QUALITIES`."""
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(label)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


FAULTS = ("dark", "noisy", "out of focus", "shaken", "without fault")
TURNS = ("upright", "left side down", "upside down", "right side down")
ZOOMS = ("wide", "medium", "close")
QUALITIES = ("6", "15", "35", "90")


# -- what is drawn -----------------------------------------------------------------------------------------------------


def _checkerboard(label: str, random: np.random.Generator) -> Picture:
    cell = {"6": 6, "8": 8, "11": 11, "15": 15, "20": 20}[label] * random.uniform(0.94, 1.06)
    rows, columns = np.mgrid[0 : 2 * SIDE, 0 : 2 * SIDE] - SIDE
    field = ((rows // cell + columns // cell) % 2).astype(np.float32)
    return _seen(field, random)


def _texture(label: str, random: np.random.Generator) -> Picture:
    rows, columns = (np.mgrid[0 : 2 * SIDE, 0 : 2 * SIDE] - SIDE).astype(np.float32)
    period = random.uniform(9, 22)
    if label == "stripes":
        field = np.sin(2 * np.pi * rows / period)
    elif label == "waves":
        field = np.sin(2 * np.pi * (rows + 4 * np.sin(2 * np.pi * columns / (2.5 * period))) / period)
    elif label == "dots":
        field = np.sin(2 * np.pi * rows / period) * np.sin(2 * np.pi * columns / period)
    elif label == "bricks":
        shifted = columns + period * ((rows // period) % 2)
        field = np.minimum(rows % period, shifted % (2 * period)) - 2.0
    elif label == "rings":
        field = np.sin(2 * np.pi * np.hypot(rows - random.uniform(-30, 30), columns) / period)
    else:
        noise = random.standard_normal((2 * SIDE, 2 * SIDE)).astype(np.float32)
        field = cv2.GaussianBlur(noise, (0, 0), period / 5)
        field /= field.std()
    return _seen(1 / (1 + np.exp(-3 * np.clip(field, -8, 8))), random)


def _shape(label: str, random: np.random.Generator) -> Picture:
    picture = _clutter(random)
    corners = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "circle": 40, "star": 10}[label]
    radius, phase = random.uniform(24, 48), random.uniform(0, 2 * np.pi)
    x, y = random.uniform(radius, SIDE - radius, 2)
    angles = phase + 2 * np.pi * np.arange(corners) / corners
    radii = np.where(np.arange(corners) % 2, 0.45, 1.0) * radius if label == "star" else np.full(corners, radius)
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1).astype(np.int32)
    colour = [int(value) for value in random.integers(0, 256, 3)]
    thickness = int(random.integers(2, 6))
    cv2.polylines(picture, [points], True, colour, thickness, cv2.LINE_AA)
    return _noisy(picture, random, 8)


def _count(label: str, random: np.random.Generator) -> Picture:
    picture = _clutter(random, pieces=0)
    colour = [int(value) for value in random.integers(0, 256, 3)]
    placed: list[Any] = []
    while len(placed) < int(label):
        radius = random.uniform(8, 16)
        place = random.uniform(radius, SIDE - radius, 2)
        if all(np.hypot(*(place - other)) > radius + size + 2 for other, size in placed):
            placed.append((place, radius))
            cv2.circle(picture, (int(place[0]), int(place[1])), int(radius), colour, -1, cv2.LINE_AA)
    return _noisy(picture, random, 8)


def _gauge(label: str, random: np.random.Generator) -> Picture:
    picture = _clutter(random, pieces=3)
    x, y = (SIDE / 2 + random.uniform(-14, 14, 2)).astype(int)
    radius = int(random.uniform(48, 62))
    face, ink = random.integers(170, 256, 3), random.integers(0, 90, 3)
    cv2.circle(picture, (x, y), radius, [int(value) for value in face], -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), radius, [int(value) for value in ink], 2, cv2.LINE_AA)
    tilt = random.uniform(-8, 8)
    for tick in range(11):
        inner = _on_dial(x, y, 0.85 * radius, 27.0 * tick + tilt)
        cv2.line(picture, inner, _on_dial(x, y, radius, 27.0 * tick + tilt), [int(value) for value in ink], 2)
    shown = 54.0 * int(label) + random.uniform(4, 50) + tilt
    colour = (200, 20, 20) if random.random() < 0.5 else tuple(int(value) for value in ink)
    cv2.line(picture, (x, y), _on_dial(x, y, 0.8 * radius, shown), colour, 3, cv2.LINE_AA)
    return _noisy(picture, random, 8)


def _on_dial(x: int, y: int, radius: float, degrees: float) -> tuple[int, int]:
    angle = np.deg2rad(135 + degrees)
    return int(x + radius * np.cos(angle)), int(y + radius * np.sin(angle))


def _display(label: str, random: np.random.Generator) -> Picture:
    dark = random.random() < 0.7
    picture = np.full((SIDE, SIDE, 3), random.integers(0, 50, 3) if dark else random.integers(150, 210, 3), np.uint8)
    lit = random.integers(140, 256, 3) if dark else random.integers(0, 70, 3)
    width, height = random.uniform(28, 46), random.uniform(30, 44)
    left, top = random.uniform(20, SIDE - 20 - width), random.uniform(14, SIDE - 14 - 2 * height)
    slant, thick = random.uniform(0, 0.15), int(random.integers(4, 10))
    for segment, ends in _SEGMENT_ENDS.items():
        on = segment in _SEGMENTS[int(label)]
        colour = lit if on else (0.86 * picture[0, 0] + 0.14 * lit)
        points = [(int(left + width * c + slant * height * (2 - r)), int(top + height * r)) for c, r in ends]
        cv2.line(picture, points[0], points[1], [int(value) for value in colour], thick, cv2.LINE_AA)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), random.uniform(0.6, 2.2)), np.uint8)
    return _noisy(picture, random, 10)


def _glyph(label: str, random: np.random.Generator) -> Picture:
    picture = _clutter(random, pieces=2)
    font = int(random.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
    scale, thick = random.uniform(1.6, 3.6), int(random.integers(2, 6))
    (width, height), _ = cv2.getTextSize(label, font, scale, thick)
    x = int(random.uniform(2, max(3, SIDE - width - 2)))
    y = int(random.uniform(height + 2, max(height + 3, SIDE - 2)))
    colour = [int(value) for value in random.integers(0, 256, 3)]
    cv2.putText(picture, label, (x, y), font, scale, colour, thick, cv2.LINE_AA)
    return _noisy(picture, random, 8)


def _seen(field: NDArray[Any], random: np.random.Generator) -> Picture:
    """Look at a field (2 SIDE, 2 SIDE) of 0..1 from the side, in two colours that are near to each other."""
    angle, tilt = random.uniform(0, 180), random.uniform(-0.0012, 0.0012, 2)
    centre = np.array([[1, 0, SIDE / 2], [0, 1, SIDE / 2], [0, 0, 1]])
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    middle = np.array([[1, 0, -SIDE], [0, 1, -SIDE], [0, 0, 1]])
    seen = cv2.warpPerspective(field.astype(np.float32), centre @ perspective @ rotation @ middle, (SIDE, SIDE))
    first = random.uniform(40, 215, 3)
    second = np.clip(first + random.choice([-1, 1]) * random.uniform(25, 90) + random.uniform(-25, 25, 3), 0, 255)
    return _noisy(np.asarray(first + seen[..., np.newaxis] * (second - first), np.uint8), random, 12)


def _clutter(random: np.random.Generator, pieces: int = 6) -> Picture:
    coarse = random.integers(60, 200, (4, 4, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
    for _ in range(pieces):
        (x1, y1), (x2, y2) = random.integers(0, SIDE, (2, 2))
        cv2.line(picture, (int(x1), int(y1)), (int(x2), int(y2)), [int(v) for v in random.integers(0, 256, 3)], 2)
    return picture


def _noisy(picture: Picture, random: np.random.Generator, spread: float) -> Picture:
    noise = random.standard_normal(picture.shape).astype(np.float32) * spread
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


KINDS: dict[str, tuple[tuple[str, ...], Draw]] = {
    "checkerboards": (("6", "8", "11", "15", "20"), _checkerboard),
    "textures": (("bricks", "clouds", "dots", "rings", "stripes", "waves"), _texture),
    "shapes": (("circle", "hexagon", "pentagon", "square", "star", "triangle"), _shape),
    "counting": (("2", "3", "4", "5", "6"), _count),
    "gauges": (("0", "1", "2", "3", "4"), _gauge),
    "displays": (tuple("0123456789"), _display),
    "glyphs": (tuple("ABCDEFGHJKLMNPQRSTUVWXYZ"), _glyph),
}
"""Kind of picture → its labels, and what draws one."""
