"""Command ids that were accepted, with the answers that were given: what makes a command run once."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.contract.messages import FINAL, Ack, Job
from edged.database import DatabaseFile, cannot_keep, has_room, is_damage, is_full, why_full

log = logging.getLogger(__name__)

KEEP_S = 30 * 86400.0
KEEP_ROWS = 100_000
YOUNG_S = 3600.0
"""At the start none is forgotten that is younger, however many there are."""
PRUNE_ROWS = 10_000
"""After so many commands the oldest are forgotten, as at the start."""
PROGRESS_S = 10.0
"""A job that only progresses is written to disk this often; every change of its status at once."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, received REAL NOT NULL, updated REAL NOT NULL,
    ack BLOB, job BLOB, finished INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a command: the bytes of `ack/<id>` and of the newest `job/<id>`, each None if never sent.

    What is no text any more, because the disk has changed it, is not repeated: see `_readable`.
    """

    name: str
    ack: bytes | None
    job: bytes | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command to remember: its id, its name, the bytes of its `ack/<id>`; `finished`: it has run and has no job."""

    id: str
    name: str
    ack: bytes
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An accepted command whose job has not ended; `job` is its last state, None if it never had one."""

    id: str
    name: str
    job: bytes | None


class Ledger:
    """A table of accepted commands on disk. Safe to use from any thread.

    On a full disk it goes on in memory, so that a command can still make room; `retry` brings it back. Until then a
    power cut costs what it remembers.

    Args:
        path: The SQLite file; its folder is made. A damaged one is set aside as *.corrupt and begun anew, whenever it
            shows: a command is answered all the same.

    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.trouble: str | None = None
        """Why it is in memory; None while it is on disk."""
        self._path = path
        self._file = DatabaseFile(path, _prepare)
        self._lock = threading.Lock()
        self._unpruned = 0
        self._progress: dict[str, tuple[str, float, bytes]] = {}
        database = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = database = self._file.open_or_renew()
            self._prune(YOUNG_S)
        except (OSError, sqlite3.Error) as error:
            if not is_full(error, path.parent):
                if database is not None:
                    database.close()
                raise cannot_keep("the commands", path, error) from error
            self._to_memory(database, error)

    def accept(self, id_: str, name: str, ack: bytes, *, finished: bool = False) -> None:
        """Remember one command, see `accept_all`."""
        self.accept_all([Accepted(id_, name, ack, finished)])

    def accept_all(self, commands: Iterable[Accepted], *, keep_s: float = 0.0) -> None:
        """Remember commands, durably, in one transaction, before they run.

        Args:
            commands: Which.
            keep_s: However many there are by now, none is forgotten that is younger.

        Raises:
            sqlite3.Error: None is remembered, so none may run.
        """
        now = time.time()
        rows = [(one.id, one.name, now, now, one.ack, one.finished) for one in commands]
        with self._lock:
            self._write(
                "INSERT OR IGNORE INTO command (id, name, received, updated, ack, finished) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._unpruned += len(rows)
            if self._unpruned >= PRUNE_ROWS:
                with contextlib.suppress(sqlite3.Error):  # these commands are remembered; the others can wait
                    self._prune(keep_s)

    def answer(self, id_: str) -> Answer | None:
        """Return what was answered to a command, None if the id is new."""
        with self._lock:
            rows = self._rows("SELECT name, ack, job, finished FROM command WHERE id = ?", id_)
            progress = self._progress.get(id_)
        if not rows:
            return None
        name, ack, job, finished = rows[0]
        if ack is not None and not _is_text(ack):
            ack = Ack(id=id_, status="accepted").encode()  # others are not remembered
        return Answer(name, ack, progress[2] if progress else _readable(id_, name, job, finished))

    def record(self, job: Job, payload: bytes) -> None:
        """Remember the newest state of a job.

        Raises:
            sqlite3.Error: The disk does not take it.
        """
        now = time.time()
        final = job.status in FINAL
        with self._lock:
            known = self._progress.get(job.id)
            if known is not None and known[0] == job.status and abs(now - known[1]) < PROGRESS_S:
                self._progress[job.id] = (job.status, known[1], payload)
                return
            # A job that no command asked for is kept too: its command column says what it was.
            self._write(
                "INSERT INTO command (id, name, received, updated, job, finished) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET job = excluded.job, updated = excluded.updated, "
                "finished = excluded.finished",
                [(job.id, job.cmd, now, now, payload, final)],
            )
            if final:
                self._progress.pop(job.id, None)
            else:
                self._progress[job.id] = (job.status, now, payload)

    def unfinished(self) -> list[Unfinished]:
        """Return accepted commands whose job has not ended, oldest first; at start, those that a restart cut off."""
        with self._lock:
            rows = self._rows("SELECT id, name, job FROM command WHERE finished = 0 ORDER BY received, rowid")
        return [Unfinished(*row) for row in rows]

    def last_job(self, names: Collection[str]) -> bytes | None:
        """Return the newest state of the job that changed last, of commands with these names."""
        marks = ", ".join("?" * len(names))
        with self._lock:
            rows = self._rows(
                f"SELECT id, name, job, finished FROM command WHERE job IS NOT NULL AND name IN ({marks}) "
                "ORDER BY updated DESC, rowid DESC LIMIT 1",
                *names,
            )
        return _readable(*rows[0]) if rows else None

    def jobs(self, names: Collection[str], limit: int, prefix: str = "") -> list[bytes]:
        """Return the newest states of the last jobs of commands with these names, the one that changed last first.

        Args:
            names: Of commands.
            limit: At most so many.
            prefix: What their ids begin with.
        """
        marks = ", ".join("?" * len(names))
        with self._lock:
            rows = self._rows(
                "SELECT id, name, job, finished FROM command "
                f"WHERE job IS NOT NULL AND name IN ({marks}) AND substr(id, 1, ?) = ? "
                "ORDER BY updated DESC, rowid DESC LIMIT ?",
                *names, len(prefix), prefix, limit,
            )  # fmt: skip
            progress = {id_: payload for id_, (_, _, payload) in self._progress.items()}
        states = [progress.get(row[0]) or _readable(*row) for row in rows]
        return [state for state in states if state is not None]

    def retry(self) -> None:
        """Go back to the disk where it was full and has room again; does nothing otherwise."""
        with self._lock:
            if self.trouble is None or not has_room(self._path.parent):
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                database = self._file.open_or_renew()
            except (OSError, sqlite3.Error) as error:
                log.debug("%s: still cannot be opened: %s", self._path, error)
                return
            try:
                with database:
                    database.executemany(
                        "INSERT INTO command VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                        "updated = excluded.updated, ack = excluded.ack, job = excluded.job, "
                        "finished = excluded.finished",
                        self._database.execute(
                            "SELECT id, name, received, updated, ack, job, finished FROM command ORDER BY rowid"
                        ),
                    )
            except sqlite3.Error as error:
                log.debug("%s: still cannot be written: %s", self._path, error)
                database.close()
                return
            self._database.close()
            self._database, self.trouble = database, None

    def close(self) -> None:
        """Write the last progress and close the file."""
        self.retry()
        try:
            with self._lock, contextlib.closing(self._database), self._database:
                for id_, (_, _, payload) in self._progress.items():
                    self._database.execute("UPDATE command SET job = ? WHERE id = ?", (payload, id_))
        except sqlite3.Error as error:
            log.error("%s: the progress of running jobs is not kept: %s", self._path, error)

    def _rows(self, query: str, *values: object) -> list[Any]:
        """Read the table; where the file is damaged it is begun anew, and nothing is in it."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._renewed(error):
                raise
            return []

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Change the table, in one transaction; in memory where the disk is full, in a new file for a damaged one."""
        try:
            with self._database:
                self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            if self.trouble is not None:
                raise
            if is_full(error, self._path.parent):
                self._to_memory(self._database, error)
            elif not self._renewed(error):
                raise
            with self._database:
                self._database.executemany(statement, rows)

    def _renewed(self, error: sqlite3.Error) -> bool:
        """Begin a damaged file anew, in memory where that cannot be done; False: it is not damaged."""
        if self.trouble is not None or not is_damage(error):
            return False
        self._database.close()
        try:
            self._database = self._file.renew(error)
        except (OSError, sqlite3.Error) as again:
            self._to_memory(None, again)
        return True

    def _to_memory(self, database: sqlite3.Connection | None, error: OSError | sqlite3.Error) -> None:
        """Go on with a copy in memory; an empty one where the file could not even be opened."""
        memory = self._file.open_in_memory()
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.backup(memory)
            database.close()
        self._database, self.trouble = memory, why_full(error)

    def _prune(self, keep_s: float) -> None:
        self._unpruned = 0
        now = time.time()
        with self._database:
            self._database.execute("DELETE FROM command WHERE finished AND updated < ?", (now - KEEP_S,))
            self._database.execute(
                "DELETE FROM command WHERE rowid <= (SELECT rowid FROM command ORDER BY rowid DESC LIMIT 1 OFFSET ?) "
                "AND received <= ?",
                (KEEP_ROWS, now - keep_s),
            )


def _is_text(payload: object) -> bool:
    """Whether a column still holds what a message is made of, UTF-8."""
    if not isinstance(payload, bytes):
        return False
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readable(id_: str, name: str, job: bytes | None, finished: int) -> bytes | None:
    """Return a job's state; of one that is damaged on disk, that it has ended, or None where it has not."""
    if job is None or _is_text(job):
        return job
    log.error("job %s (%s): what was kept of it on disk is damaged", id_, name)
    if not finished:
        return None
    error = "it has ended; how is not known, for what was kept of it on disk is damaged"
    return Job(id=id_, cmd=name, status="failed", error=error).encode()


def _prepare(database: sqlite3.Connection) -> None:
    database.execute(_SCHEMA)
    database.execute("CREATE INDEX IF NOT EXISTS command_updated ON command (updated)")
    database.execute("SELECT id, name, received, updated, ack, job, finished FROM command LIMIT 0")
    database.execute("SELECT count(*), total(length(job)) FROM command").fetchone()
