"""Which images train, which stop the training, which judge it: a pure function of a hash."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]

FRACTIONS: dict[Split, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Expected shares; they add up to 1. An image never changes sides as the set grows."""
SPLITS: tuple[Split, ...] = get_args(Split)


def split_of(group_id: str) -> Split:
    """Return the side of a group of near duplicates.

    Args:
        group_id: sha256 of the group's first image, 64 hex digits: uniform, so the shares come out as `FRACTIONS`.
    """
    position = int(group_id[:8], 16) / 2**32
    for split in SPLITS[:-1]:
        if position < FRACTIONS[split]:
            return split
        position -= FRACTIONS[split]
    return SPLITS[-1]
