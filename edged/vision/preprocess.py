"""From an RGB frame of any size to the network's input size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edged.scaling import shrink

if TYPE_CHECKING:
    from edged.types import Image

IMAGENET_CROP = 0.875
"""The share of the short side that ImageNet evaluation keeps (224 of 256 pixels)."""


def stay_on_one_thread() -> None:
    """Let OpenCV, in the whole process, do its work on the caller's thread.

    Resizing a frame is not worth waking a pool of threads beside the network's own.
    """
    cv2.setNumThreads(1)


def fit(image: Image, width: int, height: int, crop: float = IMAGENET_CROP, *, quick: bool = False) -> Image:
    """Cut the centre out at the input's aspect ratio, and scale it.

    Args:
        image: RGB, (any height, any width, 3) uint8.
        width: Of the result, pixels.
        height: Of the result, pixels.
        crop: The share 0..1 of the largest centred rectangle of the input's shape that is kept.
        quick: Read between pixels instead of averaging what is no whole number of them, see `scaling.shrink`: where
            many things of a frame are to be prepared, averaging takes too long.

    Returns:
        RGB, (height, width, 3) uint8, contiguous.
    """
    rows, columns = image.shape[:2]
    unit = min(columns / width, rows / height) * crop
    crop_width, crop_height = max(1, round(width * unit)), max(1, round(height * unit))
    left, top = (columns - crop_width) // 2, (rows - crop_height) // 2
    cut = image[top : top + crop_height, left : left + crop_width]
    if cut.shape[:2] == (height, width):
        return np.ascontiguousarray(cut)
    if quick:
        return shrink(cut, width, height)
    # Averaging over the covered area keeps aliasing out when shrinking; it does nothing useful when enlarging.
    method = cv2.INTER_AREA if crop_width > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (width, height), interpolation=method), np.uint8)
