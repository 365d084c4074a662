"""Read one photo, with the care that files from strangers need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from edged.camera.header import read_header
from edged.errors import CameraError

if TYPE_CHECKING:
    from edged.types import Image

MAX_PIXELS = 100_000_000
MAX_BYTES = 256_000_000


def read_image(photo: Path | str | bytes, *, name: str | None = None) -> Image:
    """Read a JPEG, PNG, BMP or WebP photo. The EXIF orientation is applied; transparency is dropped.

    Args:
        photo: Path of the file, or its content.
        name: How messages call it. None: the path, or "image" for bytes.

    Returns:
        RGB, (height, width, 3) uint8.

    Raises:
        CameraError: One line that names the file: missing, empty, not an image, cut off, or larger than
            100 megapixels (judged by its header, before any pixel is decoded) or 256 MB.
    """
    if isinstance(photo, bytes):
        data, name = photo, name or "image"
    else:
        name = name or str(photo)
        data = _read_file(Path(photo), name)
    try:
        header = read_header(data)
    except ValueError as error:
        raise CameraError(f"{name}: {error}") from error
    if header.width * header.height > MAX_PIXELS:
        raise CameraError(
            f"{name}: {header.width}×{header.height} pixels are too many; at most {MAX_PIXELS // 1_000_000} megapixels"
        )
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise CameraError(f"{name}: damaged {header.kind} image") from error
    if bgr is None:
        raise CameraError(f"{name}: damaged {header.kind} image")
    return cast("Image", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr))


def _read_file(path: Path, name: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CameraError(f"{name}: is not a file")  # a pipe or a device would block
        if path.stat().st_size > MAX_BYTES:
            raise CameraError(f"{name}: larger than {MAX_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CameraError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise CameraError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
