"""One image: what its file says, which side of a training it is on, and what the index knows of it. Pure values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edged.codec import decode, read_header
from edged.images.near_duplicates import Fingerprint, fingerprint

LOOKED_AT = (32, 32)
"""Width and height, pixels, that are enough for a fingerprint of 9×8; a JPEG is decoded no larger."""

Split = Literal["train", "validation", "test"]
"""The side of a training that an image is on: it trains, it tells when to stop, or it judges."""
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


@dataclass(frozen=True, slots=True)
class Photo:
    """The content of an image file, looked at.

    Attributes:
        sha256: 64 hex digits.
        kind: "JPEG", "PNG", "BMP" or "WebP".
        width, height: Pixels, before any EXIF rotation.
        bytes: Size of the file.
        print: What near duplicates are recognised by.
    """

    sha256: str
    kind: str
    width: int
    height: int
    bytes: int
    print: Fingerprint

    @property
    def id(self) -> str:
        """What people call the image."""
        return self.sha256[:16]


def look_at(data: bytes) -> Photo:
    """Look at the content of a file; decodes as little of it as a fingerprint needs.

    Raises:
        ImageError: Why it cannot be trained on; the caller knows the file's name.
    """
    header = read_header(data)
    print_ = fingerprint(decode(data, LOOKED_AT))
    digest = hashlib.sha256(data).hexdigest()
    return Photo(digest, header.kind, header.width, header.height, len(data), print_)


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image to train on or to judge by.

    Attributes:
        sha256: 64 hex digits; `id` is the first 16.
        file: Its absolute path. A text: of thousands of images few are looked at, and making a `Path` takes a while.
        label: As `edged.contract.labels.check_label` returns it.
        split: "train", "validation" or "test"; never changes.
        group_id: Equal for near duplicates.
        width, height: Pixels, before any EXIF rotation.
        bytes: Size of the file.
        kept: Whether it is a frame that the device kept, with the bottleneck that the live network gave.
        confirmed: Whether somebody has looked at it again and found the label right.
    """

    sha256: str
    id: str
    file: str
    label: str
    split: Split
    group_id: str
    width: int
    height: int
    bytes: int
    kept: bool = False
    confirmed: bool = False

    @property
    def path(self) -> Path:
        """Its absolute path."""
        return Path(self.file)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Any image of the store. Attributes as `LabeledImage`, and:

    Attributes:
        path: Absolute.
        label: None: not labeled yet.
        added_at, labeled_at: Seconds since the epoch.
        labeled_by: E.g. "push", "label", "file" (found in a label's folder).
        reason: Why a frame was kept.
        predicted: What the model said of it then, with this score.
        confirmed: 1: somebody has looked at it again and found the label right; 0: nobody has.
    """

    sha256: str
    id: str
    path: Path
    label: str | None
    split: Split
    group_id: str
    width: int
    height: int
    bytes: int
    added_at: float
    labeled_by: str | None
    labeled_at: float | None
    reason: str | None
    predicted: str | None
    score: float | None
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """Why a frame was kept, and what the model said of it."""

    reason: str
    predicted: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Embedding:
    """The bottleneck of one image as the quantized graph gives it: real = scale · (data − zero_point).

    Attributes:
        sha256: Of the image.
        backbone_sha256: Of the model that computed it, as in a bundle's manifest.
        variant: Which view of the image; see `variant`.
        data: One byte per feature.
        dtype: Of `data`.
        scale, zero_point: Of the bottleneck tensor.
    """

    sha256: str
    backbone_sha256: str
    variant: str
    data: bytes
    dtype: Literal["int8", "uint8"]
    scale: float
    zero_point: int


def variant(crop: float) -> str:
    """Return the name of the plain view: the centre crop that live frames get too (see `edged.vision.preprocess`)."""
    return f"crop={crop:g}"
