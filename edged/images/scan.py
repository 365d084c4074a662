"""From the files to the index: files are the truth about labels, and may come and go while nobody looks."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edged.codec import read_file
from edged.errors import ImageError
from edged.images.embeddings import forget
from edged.images.index import ImageIndex
from edged.images.layout import Places, Skipped, label_of
from edged.images.photo_file import Photo, look_at
from edged.images.rows import Grouping, enter, place

SETTLE_S = 2.0
"""A file that changed so recently may still be being written."""


@dataclass(slots=True)
class ScanReport:
    """What a scan has changed.

    Attributes:
        added: Images that were not there before.
        moved: Images with another place or label.
        removed: Images whose file is gone.
        deferred: Stored paths of files that seem to be being written; the next scan looks again.
        skipped: Files that cannot be trained on, those of earlier scans included.
    """

    added: int = 0
    moved: int = 0
    removed: int = 0
    deferred: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Looked:
    stored: str
    status: os.stat_result
    photo: Photo | None
    error: str | None


def scan(
    index: ImageIndex,
    grouping: Grouping,
    places: Places,
    *,
    settle_s: float = SETTLE_S,
    workers: int | None = None,
) -> ScanReport:
    """Bring the index up to date with the files; reads only new and changed ones. See `ImageStore.scan`.

    Raises:
        StorageError: The index fails.
    """
    report = ScanReport()
    with index.reading() as database:
        known = {
            path: (mtime_ns, size)
            for path, mtime_ns, size in database.execute("SELECT path, mtime_ns, bytes FROM files")
        }
    found = places.walk()
    new = {path: status for path, status in found.files.items() if known.get(path) != _stamp(status)}
    now_ns = time.time_ns()
    for path, status in list(new.items()):
        # A time in the future comes from a clock that was set back, or another machine's.
        if 0 <= now_ns - status.st_mtime_ns < settle_s * 1e9:
            report.deferred.append(path)
            del new[path]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # hashing and decoding release the interpreter lock
        looked = [one for one in pool.map(lambda item: _look(places, *item), new.items()) if one is not None]
    report.deferred += sorted(new.keys() - {one.stored for one in looked})
    gone = known.keys() - found.files.keys()
    if looked or gone:
        # By content: the order of arrival decides who is first in a group, and must not depend on names.
        looked.sort(key=lambda one: (one.photo.sha256 if one.photo else "", one.status.st_mtime_ns, one.stored))
        with index.writing() as database:
            database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            for one in looked:
                remember(database, one.stored, one.status, one.photo.sha256 if one.photo else None, one.error)
            _reconcile(database, grouping, places, {one.photo.sha256: one.photo for one in looked if one.photo}, report)
    report.skipped = [*found.skipped, *skipped(index)]
    return report


def remember(
    database: sqlite3.Connection, stored: str, status: os.stat_result, sha256: str | None, error: str | None = None
) -> None:
    """Note what a file is, so that no scan reads it again; it counts as the newest from now on."""
    database.execute(
        "INSERT OR REPLACE INTO files (path, mtime_ns, bytes, sha256, error) VALUES (?, ?, ?, ?, ?)",
        (stored, *_stamp(status), sha256, error),
    )


def skipped(index: ImageIndex) -> list[Skipped]:
    """Return the files that cannot be trained on, and those that lost to a later copy under another label."""
    with index.reading() as database:
        bad = database.execute("SELECT path, error FROM files WHERE error IS NOT NULL").fetchall()
        copies = database.execute(
            "SELECT files.path, images.path, images.label FROM files JOIN images USING (sha256) "
            "WHERE files.path != images.path"
        ).fetchall()
    lost = [
        (path, f"the same image as {winner}, which came later")
        for path, winner, label in copies
        if label_of(path) not in (None, label)
    ]
    return [Skipped(path, reason) for path, reason in sorted([*bad, *lost])]


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _look(places: Places, stored: str, status: os.stat_result) -> _Looked | None:
    """Look at one file; None where it changes or vanishes meanwhile."""
    path = places.path(stored)
    try:
        try:
            photo, error = look_at(read_file(path)), None
        except ImageError as reason:
            photo, error = None, str(reason)
        if _stamp(path.stat()) != _stamp(status):
            return None
    except OSError:
        return None
    return _Looked(stored, status, photo, error)


def _reconcile(
    database: sqlite3.Connection, grouping: Grouping, places: Places, photos: dict[str, Photo], report: ScanReport
) -> None:
    """Make the images what the files say."""
    copies: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
    for seen, path, sha256 in database.execute("SELECT seen, path, sha256 FROM files WHERE sha256 IS NOT NULL"):
        copies[sha256].append((label_of(path) is not None, seen, path))
    winners = {sha256: max(places_)[2] for sha256, places_ in copies.items()}
    images = dict(database.execute("SELECT sha256, path FROM images").fetchall())
    for sha256 in sorted(winners.keys() - images.keys()):
        stored = winners[sha256]
        photo = photos.get(sha256) or _again(places, stored, sha256)
        if photo is not None:
            enter(database, grouping, photo, path=stored, label=label_of(stored), by="file")
            report.added += 1
    for sha256 in sorted(winners.keys() & images.keys()):
        if (stored := winners[sha256]) != images[sha256]:
            place(database, sha256, path=stored, label=label_of(stored), by="file")
            report.moved += 1
    removed = images.keys() - winners.keys()
    delete(database, removed)
    report.removed += len(removed)


def delete(database: sqlite3.Connection, shas: Iterable[str]) -> None:
    """Delete images and what was computed from them from the index."""
    shas = list(shas)
    database.executemany("DELETE FROM images WHERE sha256 = ?", [(sha256,) for sha256 in shas])
    forget(database, shas)


def _again(places: Places, stored: str, sha256: str) -> Photo | None:
    """Look at a file whose row was lost between two processes."""
    try:
        photo = look_at(read_file(places.path(stored)))
    except (ImageError, OSError):
        return None
    return photo if photo.sha256 == sha256 else None
