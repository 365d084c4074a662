"""Images that show nearly the same, such as frames of a burst. Pure: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Image

MAX_HAMMING = 6
"""Bits of 64 by which the difference hashes of near duplicates differ at most."""
MAX_DIFFERENCE = 10.0
"""Levels of 255 by which their thumbnails differ at most, on average. A flat image's hash says nothing of it: its
differences are noise, or none at all."""
HASH_BYTES, THUMBNAIL_BYTES = 8, 8 * 8 * 3


class Fingerprint(NamedTuple):
    """What near duplicates are recognised by.

    Attributes:
        dhash: 8 bytes: 64 bits, one per pair of horizontal neighbours of the 9×8 gray image.
        thumbnail: 192 bytes: 8×8 pixels of three channels, in the order blue, green, red, which every index so far has.
    """

    dhash: bytes
    thumbnail: bytes


def fingerprint(image: Image) -> Fingerprint:
    """Return the fingerprint of an image of any size, RGB (height, width, 3) uint8.

    The hash is N. Krawetz's difference hash (hackerfactor.com, "Kind of Like That", 2013).
    """
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
    blue_first = thumbnail[:, :, ::-1]
    return Fingerprint(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), blue_first.tobytes())


def hamming(hashes: NDArray[np.uint64], other: int) -> NDArray[np.uint64]:
    """Return by how many bits each of `hashes` differs from `other` (H. Warren, Hacker's Delight, 5-1)."""
    bits = hashes ^ np.uint64(other)
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    counts: NDArray[np.uint64] = (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return counts


def alike_pairs(hashes: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of (n, 8) difference hashes that may be near duplicates; other knowledge must confirm it."""
    joined = hashes.astype(np.uint64) @ (np.uint64(256) ** np.arange(HASH_BYTES - 1, -1, -1, dtype=np.uint64))
    for row in range(len(joined) - 1):
        near = hamming(joined[row + 1 :], int(joined[row])) <= MAX_HAMMING
        for other in np.flatnonzero(near):
            yield row, row + 1 + int(other)


class Neighbours:
    """Fingerprints to search, in the order in which they were added."""

    def __init__(self) -> None:
        self._count = 0
        self._hashes: NDArray[np.uint64] = np.empty(256, np.uint64)
        self._thumbnails: NDArray[np.uint8] = np.empty((256, THUMBNAIL_BYTES), np.uint8)

    def __len__(self) -> int:
        return self._count

    def add(self, print_: Fingerprint) -> None:
        """Take a fingerprint; its number is the length before."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
            self._thumbnails = np.concatenate([self._thumbnails, np.empty_like(self._thumbnails)])
        self._hashes[self._count] = int.from_bytes(print_.dhash, "big")
        self._thumbnails[self._count] = np.frombuffer(print_.thumbnail, np.uint8)
        self._count += 1

    def nearest(self, print_: Fingerprint) -> int | None:
        """Return the number of the nearest near duplicate, the oldest of equals; None where there is none."""
        distances = hamming(self._hashes[: self._count], int.from_bytes(print_.dhash, "big"))
        candidates = np.flatnonzero(distances <= MAX_HAMMING)
        if not len(candidates):
            return None
        thumbnail = np.frombuffer(print_.thumbnail, np.uint8).astype(np.int16)
        differences = np.abs(self._thumbnails[candidates] - thumbnail).mean(axis=1)
        near = differences <= MAX_DIFFERENCE
        if not near.any():
            return None
        order = np.lexsort((candidates[near], differences[near], distances[candidates[near]]))
        return int(candidates[near][order[0]])
