"""What the demonstration's network was not taught: a drawn figure eight. None of its thousand labels is a digit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import encode_jpeg

if TYPE_CHECKING:
    from edged.types import Image

NAME = "drawing.jpg"
_SIDE = 480
_PEN = 24
_RINGS = ((150, 72), (312, 90))
"""Middle, from the top, and radius, pixels."""
_PAPER, _INK = (246, 244, 236), (40, 44, 60)


def figure_eight() -> Image:
    """Return the drawing, RGB: two rings of ink on paper."""
    down, across = np.mgrid[:_SIDE, :_SIDE]
    away = [np.abs(np.hypot(down - middle, across - _SIDE / 2) - radius) for middle, radius in _RINGS]
    inked = np.minimum(*away) < _PEN / 2
    return np.where(inked[..., np.newaxis], _INK, _PAPER).astype(np.uint8)


def with_drawing(photos: Path, folder: Path) -> Path:
    """Return `folder`, made and filled with links to the photos, and with the drawing."""
    folder.mkdir()
    for photo in photos.glob("*.jpg"):
        (folder / photo.name).symlink_to(photo.resolve())
    (folder / NAME).write_bytes(encode_jpeg(figure_eight()))
    return folder
