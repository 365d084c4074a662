"""Rows of the image index as values, and the one place where an image is entered."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from edged.images.near_duplicates import Fingerprint, Neighbours
from edged.images.photo_file import Photo
from edged.images.split import Split, split_of

COLUMNS = (
    "sha256, path, label, split, group_id, width, height, bytes, added_at, labeled_by, labeled_at, "
    "reason, predicted, score"
)


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image to train on or to judge by.

    Attributes:
        sha256: 64 hex digits; `id` is the first 16.
        path: Absolute.
        label: As `check_label` returns it.
        split: "train", "validation" or "test"; never changes.
        group_id: Equal for near duplicates.
        width, height: Pixels, before any EXIF rotation.
        bytes: Size of the file.
        kept: Whether it is a frame that the device kept, with the bottleneck that the live network gave.
    """

    sha256: str
    id: str
    path: Path
    label: str
    split: Split
    group_id: str
    width: int
    height: int
    bytes: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Any image of the store. Attributes as `LabeledImage`, and:

    Attributes:
        label: None: not labeled yet.
        added_at, labeled_at: Seconds since the epoch.
        labeled_by: E.g. "push", "label", "file" (found in a label's folder).
        reason: Why a frame was kept.
        predicted: What the model said of it then, with this score.
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


@dataclass(frozen=True, slots=True)
class Kept:
    """Why a frame was kept, and what the model said of it."""

    reason: str
    predicted: str | None = None
    score: float | None = None


class Grouping:
    """Finds the group of near duplicates that a new image belongs to.

    It follows the table, which other processes write too, by `seq`, which is never used twice.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._groups: list[str] = []
        self._neighbours = Neighbours()

    def group_of(self, database: sqlite3.Connection, photo: Photo) -> str:
        """Return the group's id: that of the nearest near duplicate, else the image's own sha256."""
        rows = database.execute(
            "SELECT seq, group_id, dhash, thumbnail FROM images WHERE seq > ? ORDER BY seq", (self._seq,)
        )
        for seq, group_id, dhash, thumbnail in rows:
            self._seq = seq
            self._groups.append(group_id)
            self._neighbours.add(Fingerprint(dhash, thumbnail))
        nearest = self._neighbours.nearest(photo.print)
        return photo.sha256 if nearest is None else self._groups[nearest]


def enter(
    database: sqlite3.Connection,
    grouping: Grouping,
    photo: Photo,
    *,
    path: str,
    label: str | None,
    by: str | None,
    kept: Kept | None = None,
) -> None:
    """Insert an image, or give a known one its new place and label. Group and split of a known one stay."""
    now = time.time()
    labeled_at = None if label is None else now
    by = None if label is None else by
    known = database.execute("SELECT 1 FROM images WHERE sha256 = ?", (photo.sha256,)).fetchone()
    if known is not None:
        place(database, photo.sha256, path=path, label=label, by=by)
        return
    group_id = grouping.group_of(database, photo)
    kept = kept or Kept("")
    database.execute(
        "INSERT INTO images (sha256, path, label, labeled_by, labeled_at, split, group_id, dhash, thumbnail, "
        "width, height, bytes, added_at, reason, predicted, score) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (photo.sha256, path, label, by, labeled_at, split_of(group_id), group_id, photo.print.dhash,
         photo.print.thumbnail, photo.width, photo.height, photo.bytes, now, kept.reason or None, kept.predicted,
         kept.score),
    )  # fmt: skip


def place(database: sqlite3.Connection, sha256: str, *, path: str, label: str | None, by: str | None) -> None:
    """Give a known image another place; who labeled it and when changes only with the label."""
    database.execute(
        "UPDATE images SET path = ?, labeled_by = CASE WHEN label IS ? THEN labeled_by ELSE ? END, "
        "labeled_at = CASE WHEN label IS ? THEN labeled_at ELSE ? END, label = ? WHERE sha256 = ?",
        (path, label, by, label, None if label is None else time.time(), label, sha256),
    )
