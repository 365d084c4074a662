"""Image files to pixels and back: the one place where edged decodes and encodes images.

Files come from strangers, so each is judged by its header before a pixel is decoded: kind, size in pixels, and whether
its end is there. OpenCV has a limit of its own, but only as an environment variable read before its import, and of
2^30 pixels; and it hands out a cut-off JPEG as a picture that is half grey.
"""

from __future__ import annotations

import re
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np

from edged.errors import ImageError

if TYPE_CHECKING:
    from edged.types import Image

MAX_PIXELS = 100_000_000
"""Width × height of the largest image that is decoded."""
MAX_BYTES = 256_000_000
"""Size of the largest file that is read."""
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WebP": ".webp"}
"""Kind of image, as in `Header`, to the suffix of files that edged itself names."""
READABLE = frozenset({*SUFFIXES.values(), ".jpeg"})
"""Suffixes, in lower case, of files that are taken for images when a folder is searched."""
MAX_SCANS = 100
"""Of a JPEG. A progressive one has about ten, and each may cost as much as the whole picture, in a dozen bytes."""
_MOST_SEGMENTS = 10_000
"""Of a JPEG, and bytes that fill the place between them."""
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


class Header(NamedTuple):
    """What an image file says of itself; width and height in pixels, before any EXIF rotation; scans: of a JPEG."""

    kind: str
    width: int
    height: int
    scans: int = 1


# -- reading ---------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> bytes:
    """Read an image file's content; nothing is decoded.

    Raises:
        ImageError: It is a folder, a pipe or a device, is larger than 256 MB, or cannot be read. The text does not name
            the file; the caller does.
        FileNotFoundError: There is no such file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("is not a file")  # reading a pipe or a device would block
        if status.st_size > MAX_BYTES:
            raise ImageError(f"larger than {MAX_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_image(path: Path | str, *, name: str | None = None) -> Image:
    """Read and decode a JPEG, PNG, BMP or WebP file at full size.

    Args:
        path: Of the file.
        name: How messages call it; None: by its path.

    Returns:
        As `decode`.

    Raises:
        ImageError: One line that names the file: missing, not readable, or what `decode` says.
    """
    name = name or str(path)
    try:
        return decode(read_file(Path(path)))
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error


def decode(data: bytes, needed: tuple[int, int] | None = None, *, crop: float = 1.0) -> Image:
    """Decode the content of a JPEG, PNG, BMP or WebP file. The EXIF orientation is applied; transparency is dropped.

    Args:
        data: Content of the file.
        needed: Width and height, pixels, of the network input that is made from it: a JPEG may then be decoded smaller,
            see `reduction`. None: full size.
        crop: Side of the smallest crop that is cut out before the resize, as a fraction of the image's shorter side.

    Returns:
        RGB, (height, width, 3) uint8.

    Raises:
        ImageError: Empty, not an image, cut off, damaged, or of more than 100 megapixels (judged by its header, before
            any pixel is decoded). The text does not name the file; the caller does.
    """
    header = read_header(data)
    if header.width * header.height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise ImageError(f"{header.width}×{header.height} pixels are too many; at most {limit} megapixels")
    factor = 1 if needed is None else reduction(header, *needed, crop)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED.get(factor, cv2.IMREAD_COLOR))
    except cv2.error as error:
        raise ImageError(f"damaged {header.kind} image") from error
    if bgr is None:
        raise ImageError(f"damaged {header.kind} image")
    return cast("Image", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr))


def decoding_bytes(data: bytes, needed: tuple[int, int]) -> int:
    """Return about how much memory `decode` takes for a file, judged by its header: the pixels, and a copy of them.

    Args:
        data: Content of the file.
        needed: As in `decode`.

    Raises:
        ImageError: As `read_header`.
    """
    header = read_header(data)
    pixels = header.width * header.height
    if header.kind != "JPEG":
        return 6 * pixels
    coefficients = 6 * pixels if header.scans > 1 else 0  # those of a progressive one are all kept, two bytes each
    return coefficients + 6 * pixels // reduction(header, *needed, crop=1.0) ** 2


def reduction(header: Header, width: int, height: int, crop: float) -> int:
    """Return by how much a JPEG may be decoded smaller: 8, 4, 2 or 1.

    A JPEG decoder shrinks by these factors inside the inverse DCT, in a fraction of the time. What it leaves must
    still be at least as large as the input, so that only the averaging moves from the resize to the decoder.

    Args:
        header: Kind and size of the file.
        width, height: Of the network's input, pixels.
        crop: Side of the smallest crop that is cut out, as a fraction of the image's shorter side.
    """
    if header.kind != "JPEG":
        return 1
    upright = min(header.width / width, header.height / height)
    turned = min(header.height / width, header.width / height)  # the EXIF orientation is applied after decoding
    shrink = min(upright, turned) * crop
    return next((factor for factor in _REDUCED if shrink >= factor), 1)


# -- writing ---------------------------------------------------------------------------------------------------------


def encode_jpeg(image: Image, quality: int = 95, *, longest: int | None = None) -> bytes:
    """Return an image as the content of a JPEG file.

    Args:
        image: RGB, (height, width, 3) uint8.
        quality: 1 (smallest) to 100 (best).
        longest: A side that has more pixels is scaled down to so many, and the other one with it.

    Raises:
        ImageError: JPEG cannot hold it: a side is longer than 65,500 pixels, or there are no pixels.
    """
    why = f"an image of {image.shape[1]}×{image.shape[0]} pixels cannot be encoded as JPEG"
    try:
        height, width = image.shape[:2]
        if longest is not None and max(height, width) > longest:
            scale = longest / max(height, width)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        encoded, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ImageError(why) from error
    if not encoded:
        raise ImageError(why)
    return jpeg.tobytes()


# -- the header ------------------------------------------------------------------------------------------------------


def read_header(data: bytes) -> Header:
    """Recognise JPEG, PNG, BMP and WebP from the first bytes, and see whether the end is there; decodes nothing.

    Raises:
        ImageError: Empty, another kind of file, cut off, or without pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        header = _parse(data)
    except (struct.error, IndexError) as error:
        raise ImageError("the image is cut off") from error
    if header.width < 1 or header.height < 1:
        raise ImageError(f"damaged {header.kind} image: {header.width}×{header.height} pixels")
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
    raise ImageError("not an image; JPEG, PNG, BMP and WebP can be read")


_JPEG_SIZE = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the three others of the range are tables (ITU-T T.81, table B.1)."""


def _jpeg(data: bytes) -> Header:
    """Walk the segments up to the start of scan (ITU-T T.81, annex B)."""
    header = None
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if data[position] != 0xFF:
            raise ImageError("damaged JPEG image")
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
    else:
        header = None
    if header is None:
        raise ImageError("damaged JPEG image")
    # In coded data 0xFF is followed by 0 or a restart marker, so this can only be the end of the image.
    if data.find(b"\xff\xd9", position) < 0:
        raise ImageError("the JPEG image is cut off")
    return header._replace(scans=_scans(data, position))


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""One with a segment behind it, or the end of the image."""


def _scans(data: bytes, position: int) -> int:
    """Walk the segments from the first start of scan to the end of the image; return how many scans there are.

    Raises:
        ImageError: Too many.
    """
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None or data[found.start() + 1] == 0xD9 or found.end() + 2 > len(data):
            return scans
        scans += data[found.start() + 1] == 0xDA
        if scans > MAX_SCANS:
            raise ImageError(f"a JPEG image of more than {MAX_SCANS} scans")
        position = found.end() + struct.unpack_from(">H", data, found.end())[0]
    raise ImageError("damaged JPEG image")


def _png(data: bytes) -> Header:
    """The size stands in IHDR, the first chunk (RFC 2083, 4.1.1); the last one is IEND."""
    if data[12:16] != b"IHDR":
        raise ImageError("damaged PNG image")
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(b"IEND") < 0:
        raise ImageError("the PNG image is cut off")
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
        raise ImageError("the BMP image is cut off")
    return Header("BMP", width, height)


def _webp(data: bytes) -> Header:
    """Lossy, lossless and extended files (RFC 9649, 2.4 to 2.7)."""
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise ImageError("the WebP image is cut off")
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
        raise ImageError("damaged WebP image")
    return Header("WebP", width, height)
