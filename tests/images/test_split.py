"""Labels, splits and near duplicates: the pure parts of the image store."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import CommandError
from edged.images.labels import check_label
from edged.images.near_duplicates import Neighbours, fingerprint, hamming
from edged.images.split import FRACTIONS, split_of
from tests.photos import picture


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), ("   \t", "empty"), ("a/b", "slash"), ("a\\b", "slash"), ("..", r"'\.\.'"), ("a..b", r"'\.\.'"),
        (".hidden", "dot"), ("a\nb", "control"), ("a\x00", "control"), ("\x1b[31m", "control"),
        ("x" * 300, "100 bytes"), ("ü" * 51, "100 bytes"), ("a\udc80b", "control"), ("a\u2028b", "control"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_label(text: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as caught:
        check_label(text)
    assert str(caught.value).replace("…", "").isascii()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("label", ["roses", "red rose", "a.b", "ü" * 50, "猫", "-", "x" * 100, "don't"])
def test_what_can_be_a_label(label: str) -> None:
    assert check_label(f"  {label} ") == label


def test_a_label_is_kept_composed() -> None:
    assert check_label("cafe\u0301") == "caf\u00e9"


@given(st.text(max_size=120))
def test_a_label_once_accepted_stays_as_it_is_and_names_one_folder(text: str) -> None:
    try:
        label = check_label(text)
    except CommandError:
        return
    assert check_label(label) == label
    assert label == label.strip()
    assert "/" not in label
    assert len(label.encode()) <= 100


def test_splits_have_their_shares() -> None:
    assert sum(FRACTIONS.values()) == pytest.approx(1)
    counts = Counter(split_of(hashlib.sha256(str(number).encode()).hexdigest()) for number in range(20_000))
    for split, share in FRACTIONS.items():
        assert counts[split] / 20_000 == pytest.approx(share, abs=0.02)
    assert [split_of(f"{position:08x}") for position in (0, 0xFFFFFFFF)] == ["train", "test"]


def test_hamming_counts_bits() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 500, dtype=np.uint64)
    other = int(random.integers(0, 2**64, dtype=np.uint64))
    expected = [bin(int(one) ^ other).count("1") for one in hashes]
    assert hamming(hashes, other).tolist() == expected


def test_frames_of_a_burst_are_neighbours_and_other_pictures_are_not() -> None:
    known = Neighbours()
    for seed in range(300):
        known.add(fingerprint(picture(seed)))
    random = np.random.default_rng(1)
    for seed in (0, 17, 299):
        noisy = np.clip(picture(seed) + random.normal(0, 2, (72, 96, 3)) + 4, 0, 255).astype(np.uint8)
        assert known.nearest(fingerprint(noisy)) == seed
    assert [known.nearest(fingerprint(picture(seed))) for seed in range(1000, 1050)] == [None] * 50


def test_flat_images_of_different_colours_are_no_neighbours() -> None:
    known = Neighbours()
    known.add(fingerprint(np.full((72, 96, 3), (200, 30, 30), np.uint8)))
    assert known.nearest(fingerprint(np.full((72, 96, 3), (30, 30, 200), np.uint8))) is None
    assert known.nearest(fingerprint(np.full((72, 96, 3), (202, 31, 30), np.uint8))) == 0
