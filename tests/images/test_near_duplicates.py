"""Near duplicates: what is one and what is not."""

from __future__ import annotations

import numpy as np

from edged.images.near_duplicates import Neighbours, fingerprint, hamming
from tests.photos import picture


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


def test_a_thumbnail_is_kept_as_indexes_have_it() -> None:
    assert fingerprint(np.full((72, 96, 3), (200, 30, 10), np.uint8)).thumbnail == bytes([10, 30, 200]) * 64
