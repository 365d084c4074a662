"""The region of interest of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.types import Image

WHOLE = (0.0, 0.0, 1.0, 1.0)


def crop_roi(image: Image, roi: tuple[float, float, float, float]) -> Image:
    """Cut the region of interest out of a frame, without copying pixels.

    Args:
        image: RGB, (height, width, 3) uint8.
        roi: x, y, width, height as fractions of the frame.

    Returns:
        A view of `image`; at least one pixel, however small the region.
    """
    if roi == WHOLE:
        return image
    x, y, width, height = roi
    rows, columns = image.shape[:2]
    top, bottom = _span(y, height, rows)
    left, right = _span(x, width, columns)
    return image[top:bottom, left:right]


def _span(start: float, length: float, pixels: int) -> tuple[int, int]:
    """First pixel and the one after the last, inside 0..pixels and at least one apart."""
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, min(round((start + length) * pixels), pixels))
