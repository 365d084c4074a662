"""Shrink an image in little time: for frames in which motion is looked for, and for crops of what moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from edged.types import Image

_MANY = 8
"""Of an image that is so many times larger than the result and more, not all rows are read."""


def shrink(image: Image, width: int, height: int, *, rows: int = 4) -> Image:
    """Scale an image: halved as often as that goes, then between pixels.

    OpenCV averages four pixels ten times faster than what is no whole number of them, and reads between pixels faster
    still; where an image shrinks by less than half, that leaves out little. Of an image that is much larger, rows are
    left out, since to read the memory that they lie in takes the longest: eight pixels of each of those that are read,
    and more, still make one.

    Args:
        image: RGB, (any height, any width, 3) uint8.
        width: Of the result, pixels.
        height: Of the result, pixels.
        rows: So many of an image that is much larger make one.

    Returns:
        RGB, (height, width, 3) uint8; `image` itself where it has that size.
    """
    larger = min(image.shape[0] // height, image.shape[1] // width)
    if larger >= _MANY:
        step = larger // rows
        image = image[step // 2 :: step]
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width and min(image.shape[:2]) > 1:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(
            cv2.resize(image[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA), np.uint8
        )
    while image.shape[1] >= 2 * width > 1 and larger >= _MANY:
        # What is left is wider only. Between two pixels lies their mean, and it is read there in less time.
        across = image.shape[1] // 2
        image = np.asarray(
            cv2.resize(image[:, : 2 * across], (across, image.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8
        )
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
