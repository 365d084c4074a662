"""Image files from strangers: what is decoded, what is refused before a pixel is, and what is written."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.codec import (
    MAX_SCANS,
    Header,
    decode,
    decoding_bytes,
    encode_jpeg,
    read_file,
    read_header,
    read_image,
    reduction,
)
from edged.demo import PHOTOS
from edged.errors import ImageError
from edged.vision.preprocess import fit
from tests.conftest import MADE_AND_REAL, SHARED_DATA
from tests.photos import photo

PICTURE = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
KINDS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WebP"}


def encoded(suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, PICTURE, flags)[1].tobytes()


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
    np.testing.assert_array_equal(image, decode(path.read_bytes()))


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
    turned = decode(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
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


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png_bomb(20_000)
    assert len(bomb) < 200_000
    with pytest.raises(ImageError, match=r"^20000×20000 pixels are too many; at most 100 megapixels"):
        decode(bomb)


def test_bad_files_are_named(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"hello", "not an image; JPEG, PNG, BMP and WebP can be read"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "cut off"),
    }
    for name, (content, complaint) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=complaint) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="is not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is not a file"):
        read_image(tmp_path / "pipe.jpg")


def test_damaged_pixels_are_an_error_or_a_picture(capfd: pytest.CaptureFixture[str]) -> None:
    png = bytearray(cv2.imencode(".png", np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes())
    png[60:90] = bytes(30)
    try:
        image = decode(bytes(png))
    except ImageError as error:
        assert str(error) == "damaged PNG image"  # noqa: PT017 - libpng versions differ in what they forgive
    else:
        assert image.shape == (64, 64, 3)


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
    assert read_header(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)) == Header("JPEG", 53, 37, scans=10)


def with_scans(more: int, between: bytes = b"") -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    data = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + (between + last) * more + data[-2:]


def test_a_jpeg_of_scans_without_end_is_refused_before_a_pixel_is_decoded() -> None:
    """Each takes a dozen bytes, and may take as long as the whole picture: 8 MB of them would take hours."""
    assert read_header(with_scans(MAX_SCANS - 10)).scans == MAX_SCANS
    with pytest.raises(ImageError, match=f"a JPEG image of more than {MAX_SCANS} scans"):
        decode(with_scans(MAX_SCANS - 9))


def test_scans_are_counted_behind_an_end_that_stands_in_a_comment() -> None:
    with pytest.raises(ImageError, match="scans"):
        read_header(with_scans(MAX_SCANS, between=b"\xff\xfe\x00\x04\xff\xd9"))


def test_what_follows_the_end_of_a_jpeg_is_not_counted() -> None:
    """Telephones put videos and further pictures there."""
    assert read_header(encoded(".jpg") + b"\xff\xda\x00\x02" * 2 * MAX_SCANS).scans == 1


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xfe\x00\x02"])
@pytest.mark.parametrize("place", [2, -2])
def test_segments_without_end_are_damage(filling: bytes, place: int) -> None:
    data = encoded(".jpg")
    if place == 2 or len(filling) > 1:
        with pytest.raises(ImageError, match="damaged JPEG image"):
            read_header(data[:place] + filling * 10_001 + data[place:])


def test_how_much_memory_decoding_takes_is_known_before() -> None:
    bomb = png_bomb(10_000)
    assert len(bomb) < 20_000
    assert decoding_bytes(bomb, (32, 32)) == 600_000_000
    assert decoding_bytes(encoded(".jpg"), (1, 1)) == 6 * 53 * 37 // 64
    assert decoding_bytes(with_scans(0), (1, 1)) == 6 * 53 * 37 + 6 * 53 * 37 // 64


def test_bmp_from_top_to_bottom() -> None:
    data = bytearray(encoded(".bmp"))
    struct.pack_into("<i", data, 22, -37)
    assert read_header(bytes(data)).height == 37


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.95])
def test_cut_off(suffix: str, kept: float) -> None:
    data = encoded(suffix)
    with pytest.raises(ImageError, match=r"cut off|damaged|not an image"):
        read_header(data[: max(4, int(len(data) * kept))])


def test_an_empty_file() -> None:
    with pytest.raises(ImageError, match="empty"):
        read_header(b"")


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=64), st.integers(0, 60))
def test_damage_is_an_image_error_or_a_header(suffix: str, noise: bytes, place: int) -> None:
    data = encoded(suffix)
    try:
        header = read_header(data[:place] + noise + data[place + len(noise) :])
    except ImageError:
        return
    assert header.width > 0
    assert header.height > 0


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
    reduced = decode(jpeg, (224, 224), crop=0.875)
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
    with pytest.raises(ImageError, match=reason):
        decode(data, (224, 224), crop=0.875)


def test_a_file_is_read_without_its_name_in_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(photo(1))
    assert read_file(path) == photo(1)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match=r"^is not a file$"):
        read_file(tmp_path)
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # a hole: takes no room on the disk
    with pytest.raises(ImageError, match=r"^larger than 256 MB$"):
        read_file(path)


def test_a_jpeg_comes_back_nearly_the_same_and_smaller_at_lower_quality() -> None:
    image = np.full((60, 80, 3), (200, 120, 40), np.uint8)
    image[20:40, 30:60] = (20, 60, 220)
    best, worst = encode_jpeg(image), encode_jpeg(image, 5)
    assert read_header(best) == Header("JPEG", 80, 60)
    assert np.abs(decode(best).astype(int) - image).mean() < 3  # swapped red and blue would differ by 170
    assert len(worst) < len(best)


@pytest.mark.parametrize("shape", [(1, 70_000, 3), (0, 5, 3)])
def test_what_jpeg_cannot_hold(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ImageError, match=f"^an image of {shape[1]}×{shape[0]} pixels cannot be encoded as JPEG$"):
        encode_jpeg(np.zeros(shape, np.uint8))
