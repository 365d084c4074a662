"""Decoding at reduced scale: when it is allowed, and that nothing is lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.camera.header import Header
from edged.errors import TrainingError
from edged.images.decoding import decode, reduction
from edged.vision.preprocess import fit
from tests.photos import photo


@pytest.mark.parametrize(
    ("size", "crop", "factor"),
    [
        ((4000, 3000), 0.875, 8),
        ((1920, 1080), 0.875, 4),
        ((640, 512), 0.875, 2),
        ((640, 511), 0.875, 1),
        ((512, 640), 0.875, 2),
        ((320, 240), 0.875, 1),
        ((640, 512), 0.6, 1),
        ((10000, 240), 0.875, 1),
    ],
)
def test_a_jpeg_shrinks_while_its_crop_is_no_smaller_than_the_input(
    size: tuple[int, int], crop: float, factor: int
) -> None:
    assert reduction(Header("JPEG", *size), 224, 224, crop) == factor
    assert reduction(Header("PNG", *size), 224, 224, crop) == 1


def test_an_input_that_is_not_square_fits_both_ways_round() -> None:
    # 1280×720 holds 320×180 four times; turned by its EXIF orientation only 720 / 320 = 2.25 times.
    assert reduction(Header("JPEG", 1280, 720), 320, 180, 1.0) == 2


def test_the_input_is_nearly_the_same_as_from_full_size() -> None:
    ground = np.random.default_rng(3).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    image = cv2.resize(ground, (1600, 1200), interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    reduced = decode(jpeg, 224, 224, 0.875)
    assert reduced.shape == (300, 400, 3)
    full = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    difference = fit(reduced, 224, 224).astype(int) - fit(np.asarray(full, np.uint8), 224, 224).astype(int)
    assert np.abs(difference).mean() < 2.5  # of 255; saturated blobs are the worst case


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (photo(1)[:-400], "cut off"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"IEND", "megapixels"),
    ],
)
def test_what_is_no_image_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        decode(data, 224, 224, 0.875)
