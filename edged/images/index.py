"""The SQLite file beside the images: opened by the daemon, its trainer and `edged retrain` at the same time."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edged.database import DatabaseFile, has_room, is_full
from edged.errors import StorageError

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
MIGRATIONS = (_VERSION_1,)
"""Script n leads from schema version n to n + 1; the file's version is SQLite's `user_version`."""


class ImageIndex:
    """A connection that any thread may use, one at a time.

    Where the disk is full it is in memory: a copy, or empty where the file could not even be opened. `reopen` brings it
    to the disk, as it was there; a scan makes up for the rest.

    Args:
        path: The file; its folder exists. A damaged one is set aside as *.corrupt and begun anew.

    Raises:
        StorageError: It cannot be opened, or was made by a newer edged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        """Why it is in memory; None while it is on disk."""
        self._lock = threading.RLock()
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
            self.trouble = str(error)
            self._database = self._file.open_in_memory()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread.

        Raises:
            StorageError: SQLite has failed.
        """
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                raise StorageError(f"{self.path}: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """As `reading`, inside a transaction that other processes wait for; an exception undoes it."""
        with self.reading() as database:
            if database.in_transaction:  # of the caller's caller, who ends it
                yield database
                return
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.OperationalError):  # a full disk may have undone it already
                    database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and self.trouble is None and is_full(error, self.path.parent):
                    self._to_memory(error)
                raise

    def reopen(self) -> bool:
        """Go from memory to the disk, if it has room again; what it says then is what it said before it was full.

        Returns:
            Whether it went.
        """
        with self._lock:
            if self.trouble is None or self._database.in_transaction or not has_room(self.path.parent):
                return False
            try:
                database = self._file.open_or_renew()
            except (OSError, sqlite3.Error) as error:
                log.debug("%s: still cannot be opened: %s", self.path, error)
                return False
            self._database.close()
            self._database, self.trouble = database, None
            return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _prepare(self, database: sqlite3.Connection) -> None:
        self._migrate(database)
        database.execute("SELECT count(*), count(label), total(length(dhash)) FROM images").fetchone()
        database.execute("SELECT count(sha256), total(mtime_ns) FROM files").fetchone()

    def _to_memory(self, error: sqlite3.Error) -> None:
        """Go on with a copy of the file in memory."""
        memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        try:
            self._database.backup(memory)
        except sqlite3.Error:  # not even that
            memory.close()
            return
        self._database.close()
        self._database, self.trouble = memory, str(error)

    def _migrate(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StorageError(f"{self.path}: made by a newer edged (schema {version}, known up to {len(MIGRATIONS)})")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):  # executescript would commit in between
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")
