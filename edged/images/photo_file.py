"""One image file: what it is, and whether it can be trained on. Decodes as little as it can."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edged.codec import decode, read_header
from edged.images.near_duplicates import Fingerprint, fingerprint

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
        ImageError: Why it cannot be trained on; the caller knows the file's name.
    """
    header = read_header(data)
    print_ = fingerprint(decode(data, (_ENOUGH, _ENOUGH)))
    digest = hashlib.sha256(data).hexdigest()
    return Photo(digest, header.kind, header.width, header.height, len(data), print_)
