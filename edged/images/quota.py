"""Room on the disk: what is deleted, and what never is."""

from __future__ import annotations

import sqlite3

from edged.errors import CommandError
from edged.images.layout import Places
from edged.images.scan import delete
from edged.store.durable import delete as delete_file


def make_room(database: sqlite3.Connection, places: Places, size: int, max_mb: float, *, labeled: bool) -> None:
    """Delete the oldest unlabeled frames until a new image fits.

    Args:
        database: The index, in a transaction.
        places: Where the files are.
        size: Of the new image, bytes.
        max_mb: How much all images may occupy, 10^6 bytes.
        labeled: Whether the new one has a label.

    Raises:
        CommandError: The labeled images alone leave no room; they are never deleted.
    """
    limit = max_mb * 1e6
    total, labeled_bytes = database.execute(
        "SELECT total(bytes), total(CASE WHEN label IS NOT NULL THEN bytes END) FROM images"
    ).fetchone()
    if labeled_bytes + size > limit:
        what = "another labeled image" if labeled else "a kept frame"
        raise CommandError(
            f"storage.images_max_mb = {max_mb:g}: no room for {what} beside the labeled images, which take "
            f"{labeled_bytes / 1e6:.1f} MB; raise it, or remove some (edgectl images remove ID)"
        )
    if total + size <= limit:
        return
    doomed = []
    for sha256, stored, bytes_ in database.execute(
        "SELECT sha256, path, bytes FROM images WHERE label IS NULL ORDER BY added_at, seq"
    ).fetchall():
        if not _delete(database, places, stored):  # the next one then
            continue
        doomed.append(sha256)
        total -= bytes_
        if total + size <= limit:
            break
    delete(database, doomed)


def unlink_copies(database: sqlite3.Connection, places: Places, sha256: str, *, but: str | None = None) -> None:
    """Delete the files that hold the same bytes: the next scan would bring an older decision back.

    Args:
        database: The index, in a transaction.
        places: Where the files are.
        sha256: Of the bytes.
        but: The stored path of the one that stays; None: none does.
    """
    for (stored,) in database.execute("SELECT path FROM files WHERE sha256 = ?", (sha256,)).fetchall():
        if stored == but:
            continue
        if but is None:  # all of it shall go, and whoever asked hears what does not
            places.path(stored).unlink(missing_ok=True)
            _forget(database, stored)
        else:
            _delete(database, places, stored)


def _delete(database: sqlite3.Connection, places: Places, stored: str) -> bool:
    """Delete a file and its row; False where it cannot be deleted.

    Then its row stays too: without it the next scan would take the file for a new one, and its place for a decision.
    """
    if not delete_file(places.path(stored)):
        return False
    _forget(database, stored)
    return True


def _forget(database: sqlite3.Connection, stored: str) -> None:
    database.execute("DELETE FROM files WHERE path = ?", (stored,))
