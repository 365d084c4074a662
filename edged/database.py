"""SQLite files in the state folder: opened as every one of ours is, and begun anew where one is damaged."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edged.damage import set_aside
from edged.errors import ConfigError

ENOUGH_BYTES = 2**20
"""With less than this a disk counts as full: a database, its journal and its index want some pages each."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 64 * 1024
_COMPANIONS = ("-wal", "-shm")
"""Endings of the files that SQLite keeps beside one in WAL mode."""
_DAMAGE = (
    "could not decode to utf-8",
    "no such column",
    "no such table",
    "already exists",
    "has no column named",
    "values were supplied",
)
"""What SQLite, or Python, calls an operational error although the file's content is to blame: text that is none, and
tables that are not those which `prepare` has made."""


@dataclass(frozen=True)
class DatabaseFile:
    """How one SQLite file is opened; its folder must exist.

    Every one is in WAL mode, so that readers and the writer do not wait for each other, and may be used by any thread,
    one at a time.

    Attributes:
        path: The file.
        prepare: Makes the tables where there are none, and reads them once, so that a damaged file shows itself now.
        synchronous: "FULL": a commit survives a power cut; "NORMAL": a power cut may cost the newest commits, never
            the file.
        busy_s: How long one process waits for another's transaction, seconds.
        transactions: Whether Python begins a transaction before each change, to be committed by `with connection:`;
            False: whoever wants one says BEGIN.
        shrinks: Whether `PRAGMA incremental_vacuum` can give pages back to the file system.
        renewed: What the log says becomes of a damaged file's content, after "set aside as … and".
    """

    path: Path
    prepare: Callable[[sqlite3.Connection], None]
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    busy_s: float = 5.0
    transactions: bool = True
    shrinks: bool = False
    renewed: str = "begun anew"

    def open_or_renew(self) -> sqlite3.Connection:
        """Open the file; a damaged one is set aside and begun anew, and so is a folder, say, in its place.

        Raises:
            sqlite3.Error, OSError: It cannot be opened, is locked, or there is no space.
        """
        for suffix in ("", *_COMPANIONS):
            place = self.path.with_name(self.path.name + suffix)
            if place.exists() and not place.is_file():
                set_aside(place, "no file, where one belongs", self.renewed)
        try:
            return self._open()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return self.renew(error)

    def renew(self, damage: sqlite3.Error) -> sqlite3.Connection:
        """Rename a damaged file to *.corrupt, over an older one, log that as an error, and begin a new one.

        Args:
            damage: What SQLite says of the file. Its connection is closed already.

        Raises:
            sqlite3.Error, OSError: The file cannot be renamed, or a new one not made.
        """
        set_aside(self.path, str(damage), self.renewed)
        for suffix in _COMPANIONS:  # they belong to the old file
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return self._open()

    def open_in_memory(self) -> sqlite3.Connection:
        """Make an empty database in memory, for as long as the disk is full."""
        return self._open(":memory:")

    def _open(self, name: str | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(
            name or self.path,
            timeout=self.busy_s,
            check_same_thread=False,
            isolation_level="DEFERRED" if self.transactions else None,
        )
        try:
            if self.shrinks:  # has an effect only before the first page is written, which WAL mode does
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={self.synchronous}")
            self.prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether the file's content is wrong, which a new file mends; a lock or a full disk is something else."""
    if isinstance(error, sqlite3.OperationalError):
        return any(text in str(error).lower() for text in _DAMAGE)
    # A programming error is of whoever calls, a connection that is closed already, say.
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError)


def cannot_keep(what: str, path: Path, error: OSError | sqlite3.Error) -> ConfigError:
    """Return the error that says why a file of the state folder cannot be opened, other than for lack of room.

    Args:
        what: What is kept in it, e.g. "the outbox".
        path: The file.
        error: What the system or SQLite says.
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ConfigError(f"storage.state_dir: cannot keep {what} in {path}: {reason}")


def is_full(error: OSError | sqlite3.Error, folder: Path) -> bool:
    """Whether a write into `folder` has failed because there is no room.

    SQLite says so only where it writes pages. A journal's index that cannot grow is "disk I/O error", which has many
    causes: then a file is written, and removed, to find out.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL
    if "full" in str(error):
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as failure:
        return failure.errno in _FULL
    return False


def why_full(error: OSError | sqlite3.Error) -> str:
    """Say why a write failed for which `is_full` holds: SQLite's "disk I/O error" would sound like a broken disk."""
    return str(error) if isinstance(error, OSError) else "database or disk is full"


def has_room(folder: Path) -> bool:
    """Whether a full disk has so much room again that it is worth another try. Writes nothing.

    A folder that could not be made yet has the room of the one above it.
    """
    try:
        while not folder.exists():
            folder = folder.parent
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize >= ENOUGH_BYTES
