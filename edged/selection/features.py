"""Cheap features of a frame for a premodel, under the names that Taylor et al. published. Numpy and OpenCV only.

B. Taylor, V. S. Marco, W. Wolff, Y. Elkhatib, Z. Wang: "Adaptive deep learning model selection on embedded systems",
LCTES 2018, https://doi.org/10.1145/3299710.3211336, section 3.3. The paper names the features; thresholds and bin edges
are ours where it gives none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Image, Vector

BINS = 7
SIDE = 256
"""Frames are looked at with this longest side, pixels: features must be cheap beside a network of 224×224."""
_FAST_THRESHOLD = 20  # grey levels, of 255
_CANNY = (100, 200)
_HOUGH_VOTES, _HOUGH_GAP = 20, 3
_LONGEST = 0.5  # of the diagonal: the last bin of edge lengths is open


def _numbered(name: str) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(1, BINS + 1))


GROUPS: dict[str, tuple[str, ...]] = {
    "n_keypoints": ("n_keypoints",),
    "brightness": ("avg_brightness", "brightness_rms"),
    "perc_brightness": ("avg_perc_brightness", "perc_brightness_rms"),
    "contrast": ("contrast",),
    "edges": (*_numbered("edge_length"), *_numbered("edge_angle")),
    "object": ("area_by_perim", "aspect_ratio"),
    "hue": _numbered("hue"),
}
"""What is computed together → names, in the order of `extract`."""
FEATURES: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)


class View:
    """One frame, scaled down; each intermediate picture is made once, when it is first asked for.

    Args:
        image: RGB, (height, width, 3) uint8.
    """

    def __init__(self, image: Image) -> None:
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        self.rgb = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) if scale < 1 else image

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """Luma, (height, width) uint8."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def edges(self) -> NDArray[np.uint8]:
        """Canny's edges, 255 or 0."""
        return np.asarray(cv2.Canny(self.grey, *_CANNY), np.uint8)


def _n_keypoints(view: View) -> Sequence[float]:
    """FAST corners."""
    return [float(len(cv2.FastFeatureDetector.create(threshold=_FAST_THRESHOLD).detect(view.grey)))]


def _mean_and_deviation(values: NDArray[np.uint8]) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values)
    return float(mean.item()), float(deviation.item())


def _brightness(view: View) -> Sequence[float]:
    """The luma's mean and root mean square."""
    mean, deviation = _mean_and_deviation(view.grey)
    return [mean, math.hypot(mean, deviation)]


def _perc_brightness(view: View) -> Sequence[float]:
    """√(0.241 R² + 0.691 G² + 0.068 B²) per pixel (Finley's HSP colour model): its mean and root mean square."""
    squares = np.square(view.rgb, dtype=np.float32) @ np.array([0.241, 0.691, 0.068], np.float32)
    return [float(np.sqrt(squares).mean()), math.sqrt(float(squares.mean()))]


def _contrast(view: View) -> Sequence[float]:
    """RMS contrast (Peli 1990): the standard deviation of the luma, 0..1."""
    _, deviation = _mean_and_deviation(view.grey)
    return [deviation / 255]


def _edges(view: View) -> Sequence[float]:
    """Straight edges (probabilistic Hough transform): how many of each length, and the share of each direction."""
    height, width = view.grey.shape
    diagonal = math.hypot(height, width)
    lines: Any = cv2.HoughLinesP(  # OpenCV's stubs forget that there may be no line
        view.edges, 1, math.pi / 90, _HOUGH_VOTES, None, diagonal / 32, _HOUGH_GAP
    )
    if lines is None:
        return [0.0] * (2 * BINS)
    ends = lines.reshape(-1, 4).astype(np.float32)
    across, down = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    lengths = np.hypot(across, down)
    length_bin = np.minimum((lengths / (diagonal * _LONGEST) * BINS).astype(int), BINS - 1)
    angle_bin = np.minimum((np.mod(np.arctan2(down, across), np.pi) / np.pi * BINS).astype(int), BINS - 1)
    by_length = np.bincount(length_bin, minlength=BINS)
    by_angle = np.bincount(angle_bin, weights=lengths, minlength=BINS)
    return [*map(float, by_length), *map(float, by_angle / lengths.sum())]


def _object(view: View) -> Sequence[float]:
    """The main object, taken for the largest closed outline: area by perimeter (pixels), and width by height."""
    closed = cv2.dilate(view.edges, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return [0.0, view.rgb.shape[1] / view.rgb.shape[0]]
    main = max(outlines, key=cv2.contourArea)
    _, _, width, height = cv2.boundingRect(main)
    return [cv2.contourArea(main) / max(cv2.arcLength(main, closed=True), 1.0), width / height]


def _hue(view: View) -> Sequence[float]:
    """Share of the pixels in each seventh of the colour wheel."""
    hsv = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2HSV)
    histogram = cv2.calcHist([hsv], [0], None, [BINS], [0, 180])
    return [float(share) for share in histogram.reshape(-1) / (hsv.shape[0] * hsv.shape[1])]


_EXTRACTORS = {
    "n_keypoints": _n_keypoints,
    "brightness": _brightness,
    "perc_brightness": _perc_brightness,
    "contrast": _contrast,
    "edges": _edges,
    "object": _object,
    "hue": _hue,
}


def extract(image: Image, names: Sequence[str] = FEATURES) -> Vector:
    """Compute features; what no asked-for name needs is not computed.

    Args:
        image: RGB, (height, width, 3) uint8.
        names: Some of `FEATURES`.

    Returns:
        (len(names),) float32, in the order of `names`.
    """
    view = View(image)
    wanted = set(names)
    values: dict[str, float] = {}
    for group, members in GROUPS.items():
        if not wanted.isdisjoint(members):
            values.update(zip(members, _EXTRACTORS[group](view), strict=True))
    return np.array([values[name] for name in names], np.float32)


def costs_ms(images: Sequence[Image]) -> dict[str, float]:
    """Return what each feature costs by itself: the median over the images, milliseconds.

    Each feature's cost contains the scaling and the intermediate pictures that it needs; features of one group come
    together at the price of one.
    """
    by_group = {}
    for group, members in GROUPS.items():
        times = []
        for image in images:
            begin = time.perf_counter_ns()
            extract(image, members)
            times.append((time.perf_counter_ns() - begin) / 1e6)
        by_group[group] = float(np.median(times))
    return {name: by_group[group] for group, members in GROUPS.items() for name in members}
