"""A still camera, drawn: a textured wall, things that move before it, noise, and light that changes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Box

WIDTH, HEIGHT, FPS = 320, 180, 15.0


class Wall:
    """What the camera sees.

    Args:
        noise: Standard deviation, of 255 levels.
        width, height: Of the frame.
    """

    def __init__(self, *, noise: float = 3.0, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._random = np.random.default_rng(3)
        self._noise = noise
        self.width, self.height = width, height
        self._wall = self._texture(6, 8, 60, 160, (width, height))
        self._thing = self._texture(5, 5, 0, 256, (64, 64))

    def frame(self, boxes: Sequence[Box] = (), *, light: float = 1.0) -> NDArray[np.uint8]:
        """Draw things into boxes."""
        image = self._wall.copy()
        for x, y, width, height in boxes:
            left, top = round(x * self.width), round(y * self.height)
            right, bottom = round((x + width) * self.width), round((y + height) * self.height)
            image[top:bottom, left:right] = cv2.resize(self._thing, (right - left, bottom - top))
        noisy = image * light + self._random.normal(0, self._noise, image.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def _texture(self, rows: int, columns: int, low: int, high: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        coarse = self._random.integers(low, high, (rows, columns, 3), dtype=np.uint8)
        return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
