"""The SQLite file beside the images: opened by the daemon, its trainer and `edged retrain` at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edged.database import DatabaseFile
from edged.errors import StorageError

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

    Args:
        path: The file; its folder exists. A damaged one is set aside as *.corrupt and begun anew.

    Raises:
        StorageError: It cannot be opened, or was made by a newer edged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._database = DatabaseFile(
                path,
                self._prepare,
                synchronous="NORMAL",  # a scan finds the newest rows again
                busy_s=BUSY_S,
                transactions=False,
                renewed="made anew from the files",
            ).open_or_renew()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path}: cannot be opened: {error}") from error

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
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _prepare(self, database: sqlite3.Connection) -> None:
        self._migrate(database)
        database.execute("SELECT count(*), count(label), total(length(dhash)) FROM images").fetchone()
        database.execute("SELECT count(sha256), total(mtime_ns) FROM files").fetchone()

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
