"""One image file: what it is, and whether it can be trained on. Decodes as little as it can."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edged.camera.header import read_header
from edged.camera.photo import MAX_BYTES, MAX_PIXELS
from edged.errors import TrainingError
from edged.images.near_duplicates import Fingerprint, fingerprint

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WebP": ".webp"}
"""Kind, as the header's reader calls it → suffix of the files that we name."""
READABLE = frozenset({*SUFFIXES.values(), ".jpeg"})
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_ENOUGH = 32
"""Pixels of the shorter side that are enough for a fingerprint of 9×8; a JPEG is decoded no larger."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A file's content, looked at.

    Attributes:
        sha256: 64 hex digits.
        kind: "JPEG", "PNG", "BMP" or "WebP".
        width, height: Pixels, before any EXIF rotation.
        bytes: Size of the file.
        print: For near duplicates.
    """

    sha256: str
    kind: str
    width: int
    height: int
    bytes: int
    print: Fingerprint

    @property
    def id(self) -> str:
        """What people call the image."""
        return self.sha256[:16]


def look_at(data: bytes) -> Photo:
    """Look at the content of a file.

    Raises:
        TrainingError: Why it cannot be trained on; the caller knows the file's name.
    """
    try:
        header = read_header(data)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if header.width * header.height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise TrainingError(f"{header.width}×{header.height} pixels are too many; at most {limit} megapixels")
    shorter = min(header.width, header.height) if header.kind == "JPEG" else 0
    flags = next((flag for factor, flag in _REDUCED.items() if shorter >= factor * _ENOUGH), cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise TrainingError(f"damaged {header.kind} image") from error
    if image is None:
        raise TrainingError(f"damaged {header.kind} image")
    digest = hashlib.sha256(data).hexdigest()
    print_ = fingerprint(np.asarray(image, np.uint8))
    return Photo(digest, header.kind, header.width, header.height, len(data), print_)


def read_photo(path: Path) -> bytes:
    """Read a file.

    Raises:
        TrainingError: It cannot be read, or is too large to be a photo.
        FileNotFoundError: It is gone.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrainingError(f"larger than {MAX_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TrainingError(f"cannot be read: {error.strerror}") from error
