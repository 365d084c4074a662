"""From the files to the index: files are the truth about labels, and may come and go while nobody looks."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edged.codec import read_file
from edged.errors import ImageError
from edged.images.image import Photo, look_at
from edged.images.index import ImageIndex
from edged.images.layout import Layout, Skipped, label_of, stamp_of

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


def scan(index: ImageIndex, layout: Layout, *, settle_s: float = SETTLE_S, workers: int | None = None) -> ScanReport:
    """Bring the index up to date with the files; reads only new and changed ones. See `ImageStore.scan`.

    Raises:
        StorageError: The index fails.
    """
    report = ScanReport()
    known = index.files()
    found = layout.walk()
    new = {path: status for path, status in found.files.items() if known.get(path) != stamp_of(status)}
    now_ns = time.time_ns()
    for path, status in list(new.items()):
        # A time in the future comes from a clock that was set back, or another machine's.
        if 0 <= now_ns - status.st_mtime_ns < settle_s * 1e9:
            report.deferred.append(path)
            del new[path]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # hashing and decoding release the interpreter lock
        looked = [one for one in pool.map(lambda item: _look(layout, *item), new.items()) if one is not None]
    report.deferred += sorted(new.keys() - {one.stored for one in looked})
    gone = known.keys() - found.files.keys()
    if looked or gone:
        # By content: the order of arrival decides who is first in a group, and must not depend on names.
        looked.sort(key=lambda one: (one.photo.sha256 if one.photo else "", one.status.st_mtime_ns, one.stored))
        with index.transaction():
            index.forget_files(gone)
            for one in looked:
                sha256 = one.photo.sha256 if one.photo else None
                index.remember_file(one.stored, stamp_of(one.status), sha256, one.error)
            _reconcile(index, layout, {one.photo.sha256: one.photo for one in looked if one.photo}, report)
    report.skipped = [*found.skipped, *skipped(index)]
    return report


def skipped(index: ImageIndex) -> list[Skipped]:
    """Return the files that cannot be trained on, and those that lost to a later copy under another label."""
    lost = [
        (path, f"the same image as {winner}, which came later")
        for path, winner, label in index.other_copies()
        if label_of(path) not in (None, label)
    ]
    return [Skipped(path, reason) for path, reason in sorted([*index.unusable_files(), *lost])]


def _look(layout: Layout, stored: str, status: os.stat_result) -> _Looked | None:
    """Look at one file; None where it changes or vanishes meanwhile."""
    path = layout.path(stored)
    try:
        try:
            photo, error = look_at(read_file(path)), None
        except ImageError as reason:
            photo, error = None, str(reason)
        if stamp_of(path.stat()) != stamp_of(status):
            return None
    except OSError:
        return None
    return _Looked(stored, status, photo, error)


def _reconcile(index: ImageIndex, layout: Layout, photos: dict[str, Photo], report: ScanReport) -> None:
    """Make the images what the files say."""
    winners = {sha256: _winner(paths) for sha256, paths in index.copies().items()}
    images = index.paths()
    for sha256 in sorted(winners.keys() - images.keys()):
        stored = winners[sha256]
        photo = photos.get(sha256) or _again(layout, stored, sha256)
        if photo is not None:
            index.enter(photo, path=stored, label=label_of(stored), by="file")
            report.added += 1
    for sha256 in sorted(winners.keys() & images.keys()):
        if (stored := winners[sha256]) != images[sha256]:
            index.place(sha256, path=stored, label=label_of(stored), by="file")
            report.moved += 1
    removed = images.keys() - winners.keys()
    index.delete(removed)
    report.removed += len(removed)


def _winner(paths: list[str]) -> str:
    """Return which of several copies, the last one at the end, says what label their image has."""
    return next((path for path in reversed(paths) if label_of(path) is not None), paths[-1])


def _again(layout: Layout, stored: str, sha256: str) -> Photo | None:
    """Look at a file whose row was lost between two processes."""
    try:
        photo = look_at(read_file(layout.path(stored)))
    except (ImageError, OSError):
        return None
    return photo if photo.sha256 == sha256 else None
