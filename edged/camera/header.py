"""Kind and size of an image from its first bytes, and whether its end is there. Pure; decodes nothing.

OpenCV has a limit of its own, but only as an environment variable read before its import, and of 2^30 pixels; and it
hands out a cut-off JPEG as a picture that is half grey.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class Header(NamedTuple):
    """What an image file says of itself; width and height in pixels, before any EXIF rotation."""

    kind: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Recognise JPEG, PNG, BMP and WebP.

    Raises:
        ValueError: Empty, another kind of file, cut off, or without pixels.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        header = _parse(data)
    except (struct.error, IndexError) as error:
        raise ValueError("the image is cut off") from error
    if header.width < 1 or header.height < 1:
        raise ValueError(f"damaged {header.kind} image: {header.width}×{header.height} pixels")
    return header


def _parse(data: bytes) -> Header:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    raise ValueError("not an image; JPEG, PNG, BMP and WebP can be read")


_JPEG_SIZE = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the three others of the range are tables (ITU-T T.81, table B.1)."""


def _jpeg(data: bytes) -> Header:
    """Walk the segments up to the start of scan (ITU-T T.81, annex B)."""
    header = None
    position = 2
    while True:
        if data[position] != 0xFF:
            raise ValueError("damaged JPEG image")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _JPEG_SIZE:
            height, width = struct.unpack_from(">HH", data, position + 5)
            header = Header("JPEG", width, height)
        if marker == 0xDA:
            break
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        position += 2 if standalone else 2 + struct.unpack_from(">H", data, position + 2)[0]
    if header is None:
        raise ValueError("damaged JPEG image")
    # In coded data 0xFF is followed by 0 or a restart marker, so this can only be the end of the image.
    if data.find(b"\xff\xd9", position) < 0:
        raise ValueError("the JPEG image is cut off")
    return header


def _png(data: bytes) -> Header:
    """The size stands in IHDR, the first chunk (RFC 2083, 4.1.1); the last one is IEND."""
    if data[12:16] != b"IHDR":
        raise ValueError("damaged PNG image")
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(b"IEND") < 0:
        raise ValueError("the PNG image is cut off")
    return Header("PNG", width, height)


def _bmp(data: bytes) -> Header:
    """BITMAPINFOHEADER and its successors; a negative height means top to bottom. 12: OS/2's short header."""
    offset, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)
    row_bytes = (max(width, 0) * bits + 31) // 32 * 4
    if compression == 0 and len(data) < offset + row_bytes * height:
        raise ValueError("the BMP image is cut off")
    return Header("BMP", width, height)


def _webp(data: bytes) -> Header:
    """Lossy, lossless and extended files (RFC 9649, 2.4 to 2.7)."""
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise ValueError("the WebP image is cut off")
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError("damaged WebP image")
    return Header("WebP", width, height)
