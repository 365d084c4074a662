import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.camera.header import Header, read_header

PICTURE = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
KINDS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WebP"}


def encoded(suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, PICTURE, flags)[1].tobytes()


@pytest.mark.parametrize("suffix", KINDS)
def test_kind_and_size(suffix: str) -> None:
    assert read_header(encoded(suffix)) == Header(KINDS[suffix], 53, 37)


def test_lossless_webp() -> None:
    assert read_header(encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101)) == Header("WebP", 53, 37)


def test_extended_webp() -> None:
    canvas = (52).to_bytes(3, "little") + (36).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    assert read_header(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk) == Header("WebP", 53, 37)


def test_progressive_jpeg() -> None:
    assert read_header(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)) == Header("JPEG", 53, 37)


def test_bmp_from_top_to_bottom() -> None:
    data = bytearray(encoded(".bmp"))
    struct.pack_into("<i", data, 22, -37)
    assert read_header(bytes(data)).height == 37


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.95])
def test_cut_off(suffix: str, kept: float) -> None:
    data = encoded(suffix)
    with pytest.raises(ValueError, match=r"cut off|damaged|not an image"):
        read_header(data[: max(4, int(len(data) * kept))])


def test_empty() -> None:
    with pytest.raises(ValueError, match="empty"):
        read_header(b"")


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=64), st.integers(0, 60))
def test_damage_is_a_value_error_or_a_header(suffix: str, noise: bytes, place: int) -> None:
    data = encoded(suffix)
    try:
        header = read_header(data[:place] + noise + data[place + len(noise) :])
    except ValueError:
        return
    assert header.width > 0
    assert header.height > 0
