"""Decode a labeled image no larger than a network needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from edged.camera.header import Header, read_header
from edged.camera.photo import MAX_PIXELS
from edged.errors import TrainingError

if TYPE_CHECKING:
    from edged.types import Image

_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def reduction(header: Header, width: int, height: int, crop: float) -> int:
    """Return by how much a JPEG may be decoded smaller: 8, 4, 2 or 1.

    A JPEG decoder shrinks by these factors inside the inverse DCT, in a fraction of the time. What it leaves must
    still be at least as large as the input, so that only the averaging moves from the resize to the decoder.

    Args:
        header: Kind and size of the file.
        width, height: Of the network's input, pixels.
        crop: The smallest crop that will be cut out, see `vision.preprocess.fit`.
    """
    if header.kind != "JPEG":
        return 1
    upright = min(header.width / width, header.height / height)
    turned = min(header.height / width, header.width / height)  # the EXIF orientation is applied after decoding
    shrink = min(upright, turned) * crop
    return next((factor for factor in _REDUCED if shrink >= factor), 1)


def decode(data: bytes, width: int, height: int, crop: float) -> Image:
    """Decode an image file for an input of width × height pixels.

    Returns:
        RGB, (any height, any width, 3) uint8.

    Raises:
        TrainingError: Why it cannot; the caller knows the file's name.
    """
    try:
        header = read_header(data)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if header.width * header.height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise TrainingError(f"{header.width}×{header.height} pixels are too many; at most {limit} megapixels")
    flag = _REDUCED.get(reduction(header, width, height, crop), cv2.IMREAD_COLOR)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise TrainingError(f"damaged {header.kind} image") from error
    if bgr is None:
        raise TrainingError(f"damaged {header.kind} image")
    return cast("Image", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr))
