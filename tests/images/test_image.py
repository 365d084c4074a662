"""What an image's file says, and which side of a training it is on."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from edged.errors import ImageError
from edged.images.image import FRACTIONS, look_at, split_of
from edged.images.near_duplicates import Neighbours
from tests.photos import photo


def test_splits_have_their_shares() -> None:
    assert sum(FRACTIONS.values()) == pytest.approx(1)
    counts = Counter(split_of(hashlib.sha256(str(number).encode()).hexdigest()) for number in range(20_000))
    for split, share in FRACTIONS.items():
        assert counts[split] / 20_000 == pytest.approx(share, abs=0.02)
    assert [split_of(f"{position:08x}") for position in (0, 0xFFFFFFFF)] == ["train", "test"]


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".png", "PNG")])
def test_a_photo_is_looked_at(suffix: str, kind: str) -> None:
    data = photo(1, suffix=suffix, width=640, height=480)
    looked = look_at(data)
    assert (looked.kind, looked.width, looked.height, looked.bytes) == (kind, 640, 480, len(data))
    assert looked.sha256 == hashlib.sha256(data).hexdigest()
    assert looked.sha256.startswith(looked.id)


def test_a_large_and_a_small_copy_of_a_photo_look_alike() -> None:
    known = Neighbours()
    for seed in range(20):
        known.add(look_at(photo(seed, width=1600, height=1200)).print)
    assert [known.nearest(look_at(photo(seed)).print) for seed in (0, 7, 19, 100)] == [0, 7, 19, None]


def test_what_is_no_photo_says_why_without_a_name() -> None:
    with pytest.raises(ImageError, match=r"^the JPEG image is cut off$"):
        look_at(photo(1)[:-400])
