"""The index of the labeled images: the SQLite file beside them, and all of its SQL.

The daemon, its trainer and `edged retrain` have it open at the same time. It can be made anew from the files, but for
who labeled an image, when, and who found that right later, what the model said of a kept frame, and embeddings, which
cost an inference each.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edged.contract.messages import UNKNOWN
from edged.database import DatabaseFile, has_room, is_damage, is_full, why_full
from edged.errors import StorageError
from edged.images.image import Embedding, Kept, LabeledImage, Photo, StoredImage, split_of
from edged.images.layout import Layout, Stamp
from edged.images.near_duplicates import Fingerprint, Neighbours

log = logging.getLogger(__name__)

BUSY_S = 30.0
"""How long one process waits for another's transaction; ours are short."""

_VERSION_1 = """
CREATE TABLE images (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE, path TEXT NOT NULL, label TEXT, labeled_by TEXT, labeled_at REAL,
    split TEXT NOT NULL, group_id TEXT NOT NULL, dhash BLOB NOT NULL, thumbnail BLOB NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, added_at REAL NOT NULL,
    reason TEXT, predicted TEXT, score REAL
);
CREATE INDEX images_label ON images (label, sha256);
CREATE TABLE files (
    seen INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE, mtime_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT, error TEXT
);
CREATE INDEX files_sha256 ON files (sha256);
CREATE TABLE embeddings (
    backbone_sha256 TEXT NOT NULL, variant TEXT NOT NULL, sha256 TEXT NOT NULL,
    dtype TEXT NOT NULL, scale REAL NOT NULL, zero_point INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX embeddings_key ON embeddings (backbone_sha256, variant, sha256);
CREATE INDEX embeddings_sha256 ON embeddings (sha256);
"""
_CONFIRMED = "ALTER TABLE images ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0"
MIGRATIONS = (_VERSION_1, _CONFIRMED)
"""Script n leads from schema version n to n + 1; the file's version is SQLite's `user_version`."""
_COLUMNS = (
    "sha256, path, label, split, group_id, width, height, bytes, added_at, labeled_by, labeled_at, "
    "reason, predicted, score, confirmed"
)


class ImageIndex:
    """One connection, which any thread may use. Each method is a transaction, or part of the caller's `transaction`.

    Where the disk is full it is in memory: a copy, or empty where the file could not even be opened. `reopen` brings it
    to the disk, as it was there; a scan makes up for the rest.

    Args:
        path: The file; its folder exists. A damaged one is set aside as *.corrupt and begun anew, which a StorageError
            tells where it shows later than now.
        layout: Where the files of its stored paths lie.

    Raises:
        StorageError: It cannot be opened, or was made by a newer edged. Every method raises it too where SQLite fails.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.trouble: str | None = None
        """Why it is in memory; None while it is on disk."""
        self._path = path
        self._layout = layout
        self._lock = threading.RLock()
        self._grouping = _Grouping()
        self._file = DatabaseFile(
            path,
            self._prepare,
            synchronous="NORMAL",  # a scan finds the newest rows again
            busy_s=BUSY_S,
            transactions=False,
            renewed="made anew from the files",
        )
        try:
            self._database = self._file.open_or_renew()
        except (OSError, sqlite3.Error) as error:
            if not is_full(error, path.parent):
                raise StorageError(f"{path}: cannot be opened: {error}") from error
            self.trouble = why_full(error)
            self._database = self._file.open_in_memory()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block together, or none where it raises. Other threads and processes wait."""
        with self._writing():
            yield

    def reopen(self) -> bool:
        """Go from memory to the disk, if it has room again; what it says then is what it said before it was full.

        Returns:
            Whether it went.
        """
        with self._lock:
            if self.trouble is None or self._database.in_transaction or not has_room(self._path.parent):
                return False
            try:
                database = self._file.open_or_renew()
            except (OSError, sqlite3.Error) as error:
                log.debug("%s: still cannot be opened: %s", self._path, error)
                return False
            self._database.close()
            self._database, self.trouble = database, None
            self._grouping = _Grouping()
            return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # -- images --------------------------------------------------------------------------------------------------------

    def labeled(self) -> list[LabeledImage]:
        """Return every labeled image, sorted by label, then sha256."""
        rows = self._rows(
            "SELECT sha256, path, label, split, group_id, width, height, bytes, reason IS NOT NULL, confirmed "
            "FROM images WHERE label IS NOT NULL ORDER BY label, sha256"
        )
        file = self._layout.file
        return [
            LabeledImage(
                sha256, sha256[:16], file(stored), label, split, group, wide, high, size, bool(kept), bool(right)
            )
            for sha256, stored, label, split, group, wide, high, size, kept, right in rows
        ]

    def newest(self, label: str | None, *, unlabeled: bool, limit: int) -> list[StoredImage]:
        """Return images, newest first: the unlabeled ones, those of one label, or all."""
        where, values = "", ()  # type: tuple[str, tuple[Any, ...]]
        if unlabeled:
            where = "WHERE label IS NULL "
        elif label is not None:
            where, values = "WHERE label = ? ", (label,)
        return self._select(f"{where}ORDER BY coalesce(labeled_at, added_at) DESC, seq DESC LIMIT ?", *values, limit)

    def beginning_with(self, digits: str) -> list[StoredImage]:
        """Return images whose sha256 begins so; two at most, which is enough to see that there are several."""
        return self._select("WHERE sha256 >= ? AND sha256 < ? LIMIT 2", digits, digits + "g")

    def counts(self) -> dict[str, int]:
        """Return label → number of images, sorted by label."""
        return dict(
            self._rows("SELECT label, count(*) FROM images WHERE label IS NOT NULL GROUP BY label ORDER BY label")
        )

    def unlabeled(self) -> int:
        """Return how many images have no label."""
        return int(self._rows("SELECT count(*) FROM images WHERE label IS NULL")[0][0])

    def labels_of(self, shas: Collection[str]) -> dict[str, str | None]:
        """Return sha256 → label (None: not labeled yet) of those images that are there."""
        with self._reading() as database:
            query = "SELECT sha256, label FROM images WHERE sha256 = ?"
            rows = [database.execute(query, (sha256,)).fetchone() for sha256 in shas]
        return dict(row for row in rows if row is not None)

    def hashes(self) -> dict[str, bytes]:
        """Return sha256 → difference hash, 8 bytes, of every labeled image; see `near_duplicates`."""
        return dict(self._rows("SELECT sha256, dhash FROM images WHERE label IS NOT NULL"))

    def paths(self) -> dict[str, str]:
        """Return sha256 → stored path of every image."""
        return dict(self._rows("SELECT sha256, path FROM images"))

    def sizes(self) -> tuple[int, int]:
        """Return how many bytes all images take, and the labeled ones."""
        ((total, labeled),) = self._rows(
            "SELECT total(bytes), total(CASE WHEN label IS NOT NULL THEN bytes END) FROM images"
        )
        return int(total), int(labeled)

    def oldest_unlabeled(self) -> list[tuple[str, str, int]]:
        """Return (sha256, stored path, bytes) of every image without a label: oldest first, the unknown ones last."""
        query = "SELECT sha256, path, bytes FROM images WHERE label IS NULL ORDER BY reason IS ?, added_at, seq"
        return self._rows(query, UNKNOWN)

    def group_of(self, photo: Photo) -> str:
        """Return the id of a new image's group: that of the nearest near duplicate, else its own sha256."""
        with self._reading() as database:
            return self._grouping.group_of(database, photo)

    def enter(self, photo: Photo, *, path: str, label: str | None, by: str | None, kept: Kept | None = None) -> None:
        """Insert an image, or give a known one its new place and label. Group and split of a known one stay."""
        with self._writing() as database:
            if database.execute("SELECT 1 FROM images WHERE sha256 = ?", (photo.sha256,)).fetchone() is not None:
                self.place(photo.sha256, path=path, label=label, by=by)
                return
            now = time.time()
            group_id = self._grouping.group_of(database, photo)
            kept = kept or Kept("")
            database.execute(
                "INSERT INTO images (sha256, path, label, labeled_by, labeled_at, split, group_id, dhash, thumbnail, "
                "width, height, bytes, added_at, reason, predicted, score) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (photo.sha256, path, label, None if label is None else by, None if label is None else now,
                 split_of(group_id), group_id, photo.print.dhash, photo.print.thumbnail, photo.width, photo.height,
                 photo.bytes, now, kept.reason or None, kept.predicted, kept.score),
            )  # fmt: skip

    def place(self, sha256: str, *, path: str, label: str | None, by: str | None) -> None:
        """Give a known image another place; who labeled it, when, and whether that is right change with the label."""
        if label is None:
            by = labeled_at = None
        else:
            labeled_at = time.time()
        with self._writing() as database:
            database.execute(
                "UPDATE images SET path = ?, labeled_by = CASE WHEN label IS ? THEN labeled_by ELSE ? END, "
                "labeled_at = CASE WHEN label IS ? THEN labeled_at ELSE ? END, "
                "confirmed = CASE WHEN label IS ? THEN confirmed ELSE 0 END, label = ? WHERE sha256 = ?",
                (path, label, by, label, labeled_at, label, label, sha256),
            )

    def confirm(self, sha256: str, *, confirmed: bool) -> None:
        """Note that somebody has looked at an image again and found its label right, or take that back."""
        with self._writing() as database:
            database.execute("UPDATE images SET confirmed = ? WHERE sha256 = ?", (int(confirmed), sha256))

    def delete(self, shas: Iterable[str]) -> None:
        """Delete images and what was computed from them; their files' rows stay, see `forget_files`."""
        keys = [(sha256,) for sha256 in shas]
        with self._writing() as database:
            database.executemany("DELETE FROM images WHERE sha256 = ?", keys)
            database.executemany("DELETE FROM embeddings WHERE sha256 = ?", keys)

    # -- files ---------------------------------------------------------------------------------------------------------

    def files(self) -> dict[str, Stamp]:
        """Return stored path → stamp of every file that was looked at."""
        return {path: (ns, size) for path, ns, size in self._rows("SELECT path, mtime_ns, bytes FROM files")}

    def remember_file(self, path: str, stamp: Stamp, sha256: str | None, error: str | None = None) -> None:
        """Note what a file is, so that no scan reads it again; it counts as the newest from now on.

        Args:
            path: Its stored path.
            stamp: Of the file as it was read.
            sha256: Of its content; None where it is unusable.
            error: Why it is unusable.
        """
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO files (path, mtime_ns, bytes, sha256, error) VALUES (?, ?, ?, ?, ?)",
                (path, *stamp, sha256, error),
            )

    def forget_files(self, paths: Iterable[str]) -> None:
        """Forget files that are gone."""
        with self._writing() as database:
            database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])

    def copies_of(self, sha256: str) -> list[str]:
        """Return the stored paths of the files with this content."""
        return [path for (path,) in self._rows("SELECT path FROM files WHERE sha256 = ?", sha256)]

    def copies(self) -> dict[str, list[str]]:
        """Return sha256 → stored paths of the files with this content, the one that came last at the end."""
        copies: dict[str, list[str]] = defaultdict(list)
        for sha256, path in self._rows("SELECT sha256, path FROM files WHERE sha256 IS NOT NULL ORDER BY seen"):
            copies[sha256].append(path)
        return copies

    def unusable_files(self) -> list[tuple[str, str]]:
        """Return (stored path, why) of the files that are no usable image."""
        return self._rows("SELECT path, error FROM files WHERE error IS NOT NULL")

    def other_copies(self) -> list[tuple[str, str, str | None]]:
        """Return (stored path, that of the image with the same content, its label) of files that are not its own."""
        return self._rows(
            "SELECT files.path, images.path, images.label FROM files JOIN images USING (sha256) "
            "WHERE files.path != images.path"
        )

    # -- embeddings ----------------------------------------------------------------------------------------------------

    def put_embeddings(self, rows: Iterable[Embedding]) -> None:
        """Keep embeddings, over older ones."""
        with self._writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (row.backbone_sha256, row.variant, row.sha256, row.dtype, row.scale, row.zero_point, row.data)
                    for row in rows
                ],
            )

    def embeddings(self, backbone_sha256: str, variant: str) -> dict[str, bytes]:
        """Return image sha256 → bottleneck bytes, of all that were put."""
        query = "SELECT sha256, data FROM embeddings WHERE backbone_sha256 = ? AND variant = ?"
        return dict(self._rows(query, backbone_sha256, variant))

    def plain_embeddings(self, backbone_sha256: str, rather: str) -> dict[str, bytes]:
        """Return image sha256 → bottleneck bytes of a view that was only cropped; `rather` the variant of that name."""
        query = (
            "SELECT sha256, data FROM embeddings WHERE backbone_sha256 = ? AND instr(variant, ',') = 0 "
            "ORDER BY variant = ?, variant"  # of several the last one stays
        )
        return dict(self._rows(query, backbone_sha256, rather))

    def embedded(self, backbone_sha256: str, variant: str) -> set[str]:
        """Return the sha256 of every image that has an embedding; reads no data."""
        query = "SELECT sha256 FROM embeddings WHERE backbone_sha256 = ? AND variant = ?"
        return {sha256 for (sha256,) in self._rows(query, backbone_sha256, variant)}

    # -- inside --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread."""
        with self._lock:
            if self._database.in_transaction:  # of the caller, whose block hears what SQLite says as it is
                yield self._database
                return
            try:
                yield self._database
            except sqlite3.Error as error:
                renewed = self.trouble is None and is_damage(error)
                if renewed:
                    self._renew(error)
                more = " (it is made anew from the files: ask again)" if renewed else ""
                raise StorageError(f"{self._path}: {error}{more}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """As `_reading`, inside a transaction that other processes wait for; an exception undoes it."""
        with self._reading() as database:
            if database.in_transaction:  # of the caller, who ends it
                yield database
                return
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except BaseException as error:
                self._grouping = _Grouping()  # it may have seen rows that are undone, and their numbers come again
                database.rollback()  # does nothing where SQLite has undone it already, as on a full disk
                if isinstance(error, sqlite3.Error) and self.trouble is None and is_full(error, self._path.parent):
                    self._to_memory(error)
                raise

    def _renew(self, error: sqlite3.Error) -> None:
        """Begin a damaged file anew, in memory where that cannot be done."""
        self._grouping = _Grouping()
        self._database.close()
        try:
            self._database = self._file.renew(error)
        except (OSError, sqlite3.Error) as again:
            self._database, self.trouble = self._file.open_in_memory(), why_full(again)

    def _to_memory(self, error: sqlite3.Error) -> None:
        """Go on with a copy of the file in memory."""
        memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        try:
            self._database.backup(memory)
        except sqlite3.Error:  # not even that
            memory.close()
            return
        self._database.close()
        self._database, self.trouble = memory, why_full(error)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._reading() as database:
            return database.execute(query, values).fetchall()

    def _select(self, clause: str, *values: Any) -> list[StoredImage]:
        rows = self._rows(f"SELECT {_COLUMNS} FROM images {clause}", *values)
        return [StoredImage(row[0], row[0][:16], self._layout.path(row[1]), *row[2:]) for row in rows]

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            known = len(MIGRATIONS)
            raise StorageError(f"{self._path}: made by a newer edged (schema {version}, known up to {known})")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):  # executescript would commit in between
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")
        # Read both tables whole, and their text as text, so that damage shows itself now.
        deque(database.execute("SELECT sha256, path, label, labeled_by, split, group_id, reason FROM images"), maxlen=0)
        deque(database.execute("SELECT path, sha256, error FROM files"), maxlen=0)
        database.execute(f"SELECT {_COLUMNS}, dhash, thumbnail FROM images LIMIT 0")
        database.execute("SELECT count(*), count(label), total(length(dhash)) FROM images").fetchone()
        database.execute("SELECT count(sha256), total(mtime_ns) FROM files").fetchone()


class _Grouping:
    """Finds the group of near duplicates that a new image belongs to.

    It follows the table, which other processes write too, by `seq`, which no two committed rows share.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._groups: list[str] = []
        self._neighbours = Neighbours()

    def group_of(self, database: sqlite3.Connection, photo: Photo) -> str:
        rows = database.execute(
            "SELECT seq, group_id, dhash, thumbnail FROM images WHERE seq > ? ORDER BY seq", (self._seq,)
        )
        for seq, group_id, dhash, thumbnail in rows:
            self._seq = seq
            self._groups.append(group_id)
            self._neighbours.add(Fingerprint(dhash, thumbnail))
        nearest = self._neighbours.nearest(photo.print)
        return photo.sha256 if nearest is None else self._groups[nearest]
