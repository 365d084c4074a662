"""Messages that the broker has not acknowledged, kept on disk in the order in which they were published.

Written to only while the broker is away (or slow), so that a healthy link does not wear out the flash.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.database import DatabaseFile, cannot_keep, has_room, is_damage, is_full, why_full

log = logging.getLogger(__name__)

ROW_BYTES = 48
"""What a row costs on disk beside its topic and payload, roughly."""
OLDEST = -(2**63)
"""Below every id."""
RETRY_S = 30.0
"""How often a full or failing disk is tried again."""
REPORT_S = 600.0
"""How often the number of dropped messages is logged."""
LONGEST_TOPIC = 65_535
"""Of a topic, bytes; an MQTT packet holds no longer one."""
_NO_TOPIC = frozenset("+#\0")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, retain INTEGER NOT NULL, size INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the outbox; `id` grows in the order of publishing."""

    id: int
    topic: str
    payload: bytes
    retain: bool

    @property
    def size(self) -> int:
        """Bytes that count against the bound."""
        return len(self.topic) + len(self.payload) + ROW_BYTES


class Outbox:
    """A bounded first-in-first-out store of messages. Not for several threads at once: the link's thread owns it.

    A commit is on disk when `append` returns: it survives SIGKILL and a power cut. Where the disk is full or
    fails, messages stay in memory, under the same bound, and the disk is tried again now and then. Where it is full
    from the start, what an earlier process has left is found, and counted, as soon as there is room (`reopen`).

    Args:
        path: The SQLite file; its folder is made. A damaged one is set aside as *.corrupt and begun anew.
        max_mb: Bound of all messages together, megabytes (10^6 bytes); beyond it the oldest are dropped.

    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(self, path: Path, max_mb: float) -> None:
        self.path = path
        self.trouble: str | None = None
        """Why the disk was full from the start; None where it was not, or has room again."""
        self.dropped = 0
        """Messages dropped since the process started: for the bound, or because a damaged row is none."""
        self._max_bytes = int(max_mb * 1e6)
        self._memory: deque[Stored] = deque()
        self._memory_bytes = 0
        self._acknowledged: set[int] = set()
        self._count = self._bytes = 0
        self._next_id = 1
        self._failure = ""
        self._retry_at = self._remove_at = 0.0
        self._report_at = 0.0
        self._reported = 0
        self._unusable = 0
        self._file = DatabaseFile(path, self._prepare, shrinks=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._file.open_or_renew()
        except (OSError, sqlite3.Error) as error:
            if not is_full(error, path.parent):
                raise cannot_keep("the outbox", path, error) from error
            self.trouble = why_full(error)
            self._database = self._file.open_in_memory()  # stays empty: `append` leaves all in its own memory

    def __len__(self) -> int:
        """Messages not yet acknowledged, on disk and in memory."""
        return max(0, self._count + len(self._memory) - len(self._acknowledged))

    @property
    def size_bytes(self) -> int:
        """What counts against the bound, on disk and in memory; acknowledged messages do until `commit`."""
        return self._bytes + self._memory_bytes

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    @property
    def in_memory(self) -> str | None:
        """Why messages, or those to come, are not on disk; None where all is well."""
        # Another thread may look while messages that were just taken are on their way to the disk: no failure.
        return self.trouble or (self._failure if self._memory else "") or None

    def append(self, messages: Iterable[tuple[str, bytes, bool]]) -> list[int]:
        """Store (topic, payload, retain) messages durably, in one commit.

        Returns:
            Their ids, ascending.
        """
        new = []
        for topic, payload, retain in messages:
            new.append(Stored(self._next_id, topic, payload, retain))
            self._next_id += 1
        self._memory.extend(new)
        self._memory_bytes += sum(message.size for message in new)
        if self.trouble is None and time.monotonic() >= self._retry_at:
            self._write()
        self._bound()
        return [message.id for message in new]

    def after(self, id_: int, limit: int) -> Sequence[Stored]:
        """Return up to `limit` messages with ids greater than `id_`, oldest first, without acknowledged ones.

        A row of the disk that has become no message is dropped, so that it does not keep those behind it.
        """
        found: list[Stored] = []
        try:
            rows = self._database.execute(
                "SELECT id, CAST(topic AS BLOB), CAST(payload AS BLOB), retain FROM outbox WHERE id > ? ORDER BY id",
                (id_,),
            )
            with contextlib.closing(rows):
                found = list(itertools.islice(self._messages(rows), limit))
        except sqlite3.Error as error:
            self._failed(error)
        if len(found) < limit and self._memory and self._memory[-1].id > id_:
            in_memory = (one for one in self._memory if one.id > id_ and one.id not in self._acknowledged)
            found += itertools.islice(in_memory, limit - len(found))
        return found

    def acknowledge(self, id_: int) -> None:
        """Note that a message arrived; `commit` removes it."""
        self._acknowledged.add(id_)

    @property
    def uncommitted(self) -> int:
        """Acknowledged messages that `commit` would remove."""
        return len(self._acknowledged)

    def commit(self) -> None:
        """Remove what was acknowledged, in one commit; an emptied file gives its space back.

        What a failing disk keeps is not read again, and removed as soon as the disk can be written.
        """
        if not self._acknowledged:
            return
        if self._memory and max(self._acknowledged) >= self._memory[0].id:
            gone = {message.id for message in self._memory if message.id in self._acknowledged}
            self._memory = deque(message for message in self._memory if message.id not in gone)
            self._memory_bytes = sum(message.size for message in self._memory)
            self._acknowledged -= gone
        if not self._acknowledged or time.monotonic() < self._remove_at:
            return
        try:
            with self._database:
                sizes = [size for id_ in self._acknowledged if (size := self._remove(id_)) is not None]
            self._acknowledged.clear()
            self._count -= len(sizes)
            self._bytes -= sum(sizes)
            if self._count == 0:
                # `execute` would stop after the first page: SQLite returns a row without columns for each.
                self._database.executescript("PRAGMA incremental_vacuum")
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._remove_at = time.monotonic() + RETRY_S
            self._failed(error)
        else:
            if not self._memory:  # a full disk may still give room back and take none
                self._works_again()

    def reopen(self) -> bool:
        """Go back to a disk that was full from the start and has room again.

        Returns:
            Whether an earlier process has left messages there. They are older than all others: their ids are lower.
        """
        if self.trouble is None or not has_room(self.path.parent):
            return False
        empty, first = self._database, self._next_id
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = self._file.open_or_renew()
            try:
                with database:  # ids that were given since stay, so the older ones make room below them
                    database.execute("UPDATE outbox SET id = id - ?", (self._next_id,))
            except sqlite3.Error:
                database.close()
                raise
        except (OSError, sqlite3.Error) as error:
            log.debug("%s: still cannot be used: %s", self.path, error)
            self._count, self._bytes, self._next_id = 0, 0, first
            return False
        empty.close()
        self._database, self._next_id, self.trouble = database, first, None
        left = self._count > 0
        if self._memory:
            self._write()
        return left

    def close(self) -> None:
        """Write what can be written and close the file."""
        self._remove_at = 0.0  # the last chance, however short ago it failed
        self.commit()
        self.reopen()
        with contextlib.closing(self._database):
            if self._memory and self.trouble is None:
                self._write()
        if self._memory:
            log.error("%s: %d messages could not be written and are lost", self.path, len(self._memory))

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_size_limit=1000000")
        database.execute(_SCHEMA)
        database.execute("SELECT id, topic, payload, retain, size FROM outbox LIMIT 0")
        # Reads every page of the table, so a damaged file shows itself here.
        count, size, last = database.execute("SELECT count(*), total(size), max(id) FROM outbox").fetchone()
        self._count = count
        self._bytes = int(size)
        self._next_id = max(self._next_id, (last or 0) + 1)

    def _write(self) -> None:
        """Move memory to disk."""
        try:
            with self._database:
                self._database.executemany(
                    "INSERT INTO outbox VALUES (?, ?, ?, ?, ?)",
                    ((m.id, m.topic, m.payload, m.retain, m.size) for m in self._memory),
                )
        except sqlite3.Error as error:
            self._failed(error)
            return
        self._count += len(self._memory)
        self._bytes += self._memory_bytes
        self._memory.clear()
        self._memory_bytes = 0
        self._works_again()

    def _works_again(self) -> None:
        """Note that the disk was written."""
        if self._retry_at:
            self._retry_at = 0.0
            self._failure = ""
            log.info("%s: can be written again", self.path)

    def _failed(self, error: sqlite3.Error) -> None:
        """Go on in memory; replace a damaged file."""
        if is_damage(error):
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            try:
                self._database = self._file.renew(error)
            except (OSError, sqlite3.Error) as again:
                error = again if isinstance(again, sqlite3.Error) else error
            else:
                self._acknowledged.intersection_update(message.id for message in self._memory)
                return
        if not self._retry_at:
            log.error("%s: cannot be written (%s); unacknowledged messages stay in memory", self.path, error)
        self._failure = str(error)
        self._retry_at = time.monotonic() + RETRY_S

    def _messages(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
        """Read rows as messages, without acknowledged ones; one that is none is dropped."""
        for row in rows:
            if row[0] in self._acknowledged:
                continue
            if (message := _stored(*row)) is None:
                self._drop(row[0])
            else:
                yield message

    def _drop(self, id_: int) -> None:
        """Count a row that is no message as gone, and tell the first one."""
        if not self._unusable:
            log.error(
                "%s: damaged: row %d is no message (its topic cannot be published); such rows are dropped",
                self.path,
                id_,
            )
        self._unusable += 1
        self.dropped += 1
        self._acknowledged.add(id_)  # `commit` removes it, as soon as the disk can be written

    def _bound(self) -> None:
        """Drop the oldest until the rest fits."""
        excess = self.size_bytes - self._max_bytes
        if excess <= 0:
            return
        before = self.dropped
        try:
            sizes: list[int] = []
            with self._database:
                while excess > sum(sizes) and len(sizes) < self._count:
                    oldest = self._database.execute("SELECT id FROM outbox ORDER BY id LIMIT 1").fetchone()[0]
                    sizes.append(self._remove(oldest) or 0)
            self._count -= len(sizes)
            self._bytes -= sum(sizes)
            self.dropped += len(sizes)
            excess -= sum(sizes)
        except sqlite3.Error as error:
            self._failed(error)
        while excess > 0 and self._memory:
            size = self._memory.popleft().size
            excess -= size
            self._memory_bytes -= size
            self.dropped += 1
        now = time.monotonic()
        if self.dropped > before and now >= self._report_at:
            self._report_at = now + REPORT_S
            log.warning(
                "%s: full (storage.outbox_max_mb = %g): the oldest %d messages were dropped",
                self.path, self._max_bytes / 1e6, self.dropped - self._reported,
            )  # fmt: skip
            self._reported = self.dropped

    def _remove(self, id_: int) -> int | None:
        """Delete a row inside the caller's transaction; its size, or None if it was dropped for the bound meanwhile."""
        row = self._database.execute("SELECT CAST(size AS INTEGER) FROM outbox WHERE id = ?", (id_,)).fetchone()
        if row is None:
            return None
        self._database.execute("DELETE FROM outbox WHERE id = ?", (id_,))
        return int(row[0])


def _stored(id_: int, topic: bytes | None, payload: bytes | None, retain: object) -> Stored | None:
    """Return a row as the message that it holds; None where damage has made something else of it."""
    try:
        text = (topic or b"").decode()
    except UnicodeDecodeError:
        return None
    if payload is None or not topic or len(topic) > LONGEST_TOPIC or not _NO_TOPIC.isdisjoint(text):
        return None
    return Stored(id_, text, payload, bool(retain))
