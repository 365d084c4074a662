"""A short film for tests, of the photos that ship, which OpenCV and GStreamer read without further plug-ins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from tests.photos import shipped_photos, views


@dataclass(frozen=True, slots=True)
class Clip:
    """A film: where it is, how many frames it has, and their size in pixels."""

    path: Path
    frames: int
    width: int
    height: int


def make_clip(path: Path, *, per_photo: int = 10, width: int = 320, height: int = 180) -> Clip:
    """Write a film (Motion JPEG in AVI, 25 frames a second) that shows so many views of each photo."""
    images = [view for photo in shipped_photos() for view in views(photo, per_photo)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (width, height), interpolation=cv2.INTER_AREA))
    writer.release()
    return Clip(path, len(images), width, height)
