import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.camera.photo import read_image
from edged.demo import PHOTOS
from edged.errors import CameraError
from tests.conftest import MADE_AND_REAL, SHARED_DATA


def png_bomb(side: int) -> bytes:
    """A valid black PNG of side × side pixels, one bit each."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side + 7) // 8 + 1) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write(path: Path, rgb: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def test_colour_is_rgb(tmp_path: Path) -> None:
    red = np.zeros((8, 12, 3), np.uint8)
    red[..., 0] = 255
    for suffix in (".png", ".bmp"):
        np.testing.assert_array_equal(read_image(write(tmp_path / f"red{suffix}", red)), red)


def test_bytes_and_path_give_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8))
    image = read_image(path)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, read_image(path.read_bytes()))


def test_grey_transparent_and_sixteen_bit_photos_become_rgb(tmp_path: Path) -> None:
    for name, pixels in {
        "grey": np.full((4, 5), 77, np.uint8),
        "transparent": np.full((4, 5, 4), 77, np.uint8),
        "deep": np.full((4, 5, 3), 77 * 257, np.uint16),
    }.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), np.full((4, 5, 3), 77, np.uint8))


def test_exif_orientation_is_honoured() -> None:
    tall = np.zeros((16, 48, 3), np.uint8)
    tall[:, :24] = 255
    jpeg = cv2.imencode(".jpg", tall)[1].tobytes()
    tiff = b"MM\x00\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # 6: turn right
    exif = b"Exif\x00\x00" + tiff
    turned = read_image(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert turned.shape == (48, 16, 3)
    assert turned[:20].min() > 200
    assert turned[28:].max() < 50


@pytest.mark.parametrize("kind", MADE_AND_REAL)
def test_photos_of_many_kinds_are_read(tmp_path: Path, kind: str) -> None:
    folder = SHARED_DATA / "photos" if kind == "real" else tmp_path
    if kind == "made":
        for path, suffix in zip(
            sorted(PHOTOS.glob("*.jpg")), (".jpg", ".bmp", ".jpg", ".bmp", ".jpg", ".bmp"), strict=True
        ):
            assert cv2.imwrite(str(tmp_path / (path.stem + suffix)), cv2.imread(str(path)))
    paths = sorted(folder.glob("*.[jb][pm][gp]"))
    assert len(paths) >= 5
    assert {path.suffix for path in paths} == {".jpg", ".bmp"}
    for path in paths:
        image = read_image(path)
        assert image.ndim == 3
        assert min(image.shape[:2]) > 100
        assert image.std() > 20


def test_image_bomb_is_refused_by_its_header() -> None:
    bomb = png_bomb(20_000)
    assert len(bomb) < 200_000
    with pytest.raises(CameraError, match=r"image: 20000×20000 pixels are too many; at most 100 megapixels"):
        read_image(bomb)


def test_bad_files_are_named(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"hello", "not an image; JPEG, PNG, BMP and WebP can be read"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "cut off"),
    }
    for name, (content, complaint) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CameraError, match=complaint) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"missing\.jpg: no such file"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(CameraError, match="is not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(CameraError, match="is not a file"):
        read_image(tmp_path / "pipe.jpg")


def test_damaged_pixels_are_an_error_or_a_picture(capfd: pytest.CaptureFixture[str]) -> None:
    png = bytearray(cv2.imencode(".png", np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes())
    png[60:90] = bytes(30)
    try:
        image = read_image(bytes(png), name="damaged.png")
    except CameraError as error:
        assert str(error).startswith("damaged.png")  # noqa: PT017 - libpng versions differ in what they forgive
    else:
        assert image.shape == (64, 64, 3)
