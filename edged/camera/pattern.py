"""A synthetic moving picture, for trying edged without a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edged.types import Image

WIDTH, HEIGHT = 640, 480
_SQUARE = 96


class PatternSource:
    """Colour gradients that scroll sideways under a square that wanders; frame n is always the same picture."""

    live = False

    def __init__(self) -> None:
        self._seq = 0
        columns = np.arange(2 * WIDTH)
        rows = np.arange(HEIGHT)
        ramp = np.abs(columns % WIDTH * 2 - WIDTH) * 255 // WIDTH  # there and back, so that scrolling shows no seam
        self._strip = np.empty((HEIGHT, 2 * WIDTH, 3), np.uint8)
        self._strip[..., 0] = ramp[None, :]
        self._strip[..., 1] = (rows * 255 // HEIGHT)[:, None]
        self._strip[..., 2] = 255 - ramp[None, :]

    def read(self) -> Image | None:
        """Return the next picture, RGB (480, 640, 3) uint8."""
        offset = self._seq * 4 % WIDTH
        image = self._strip[:, offset : offset + WIDTH].copy()
        top = self._seq * 3 % (HEIGHT - _SQUARE)
        left = self._seq * 5 % (WIDTH - _SQUARE)
        image[top : top + _SQUARE, left : left + _SQUARE] = self._seq * 16 % 256
        self._seq += 1
        return image

    def interrupt(self) -> None:
        """Nothing blocks here."""

    def close(self) -> None:
        """Nothing is held open."""
