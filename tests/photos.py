"""Photos for tests, made from a seed: no two look alike unless asked for."""

from __future__ import annotations

import cv2
import numpy as np


def picture(seed: int, *, width: int = 96, height: int = 72) -> np.ndarray:
    """Blobs of colour, (height, width, 3) uint8."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def photo(seed: int, *, suffix: str = ".jpg", brighter: int = 0, **size: int) -> bytes:
    """An image file's content; `brighter` shifts all levels, as the next frame of a burst might."""
    image = cv2.add(picture(seed, **size), np.full(3, brighter, np.float64))
    encoded, data = cv2.imencode(suffix, image)
    assert encoded
    return data.tobytes()
