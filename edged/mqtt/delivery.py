"""What is published and not yet acknowledged: in flight, waiting, or on disk. No thread of its own, no paho."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edged import tracing
from edged.mqtt.outbox import OLDEST, Outbox, Stored

log = logging.getLogger(__name__)

STALL_S = 0.375
"""A message that was taken so long ago and is not acknowledged, sent or not, goes to disk with all that follows it, as
soon as `SPILL_S` has passed since the last commit: a process that dies while a broker stalls loses half a second, no
more. A broker that answers sooner costs the disk nothing."""
MEMORY_BYTES = 8_000_000
"""So is one that lets this much pile up."""
SPILL_S = 0.1
"""Least time between two commits while the broker is away: one page for many messages, not many for each."""
REOPEN_S = 2.0
"""How often an outbox whose disk was full from the start looks whether there is room."""
COMMIT_S = 1.0
QUIET_S = 30.0
"""How soon to look again where nothing is to be sent or written: whatever happens ends the pause."""
COMMIT_ROWS = 100
LARGE_BYTES = 64 * 1024
"""A payload of more than this travels alone. Brokers end the connection on a message that they find too large, and one
of MQTT 3.1.1 cannot say what it takes: it shall be known which message that was."""
ATTEMPTS = 3
"""So many connections in a row may end on one large message, then it is given up: all that follows it waits for it."""

_HEADER_BYTES = 96
"""More than a packet has beside topic and payload: its header, and what `properties` adds in MQTT 5."""

Send = Callable[[str, bytes, bool], "int | None"]
"""(topic, payload, retain) → packet id, or None where the connection is no longer there."""


def fits(topic: str, payload: bytes, max_bytes: int | None) -> bool:
    """Whether a broker takes a message, whose largest packet this is; None: it takes any."""
    return max_bytes is None or len(topic) + len(payload) + _HEADER_BYTES <= max_bytes


@dataclass(slots=True)
class Pending:
    """A QoS 1 message without its PUBACK; `row` is its id in the outbox, None while only in memory."""

    topic: str
    payload: bytes
    retain: bool
    taken_at: float
    row: int | None = None
    sent_at: float = 0.0


class Delivery:
    """Keeps QoS 1 messages in order until the broker acknowledges them.

    Invariant: what is on disk and not in flight is older than what waits in memory; so memory is only sent when the
    disk has nothing left to send. The exception: what an earlier process has left on a disk that was full from the
    start is sent, oldest first, once there is room.

    Args:
        outbox: The disk.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.backlog = len(outbox)
        """Messages without PUBACK, in memory and on disk, each counted once. Any thread may read it: it is set when a
        step is over, and does not count twice what is just being moved from memory to the disk."""
        self.backlog_bytes = outbox.size_bytes
        """What these take; see `Outbox.size_bytes`."""
        self._outbox = outbox
        self._inflight: dict[int, Pending] = {}
        self._waiting: deque[Pending] = deque()
        self._waiting_bytes = 0
        self._page: deque[Stored] = deque()
        self._cursor = OLDEST
        self._sent: frozenset[int | None] = frozenset()
        self._more_on_disk = len(outbox) > 0
        self._reopen_at = 0.0
        self._spilled_at = 0.0
        self._committed_at = 0.0
        self._memory_inflight = 0
        self._memory_bytes = 0
        self._suspect: tuple[int | None, int] = (None, 0)

    @property
    def inflight(self) -> int:
        """Messages handed to the connection and not yet acknowledged."""
        return len(self._inflight)

    def add(self, topic: str, payload: bytes, retain: bool, taken_at: float | None = None) -> None:
        """Take a message, or one that was taken from its sender at `taken_at`, monotonic clock; None: now."""
        at = time.monotonic() if taken_at is None else taken_at
        self._waiting.append(Pending(topic, payload, retain, at))
        self._waiting_bytes += len(topic) + len(payload)
        self._memory_bytes += len(topic) + len(payload)
        self._count()

    def acknowledged(self, mid: int, error: str | None) -> bool:
        """Note a PUBACK; False: not one of ours. A refused message is given up: it would be refused for ever."""
        pending = self._inflight.pop(mid, None)
        if pending is None:
            return False
        if (tracer := tracing.active) is not None:
            sent_ns = round(pending.sent_at * 1e9)
            tracer.overlapping("mqtt", pending.topic, sent_ns, time.monotonic_ns(), bytes=len(pending.payload))
        if error is not None:
            log.error("broker refused a message on %s (%s); it is given up", pending.topic, error)
        if pending.row is None:
            self._memory_inflight -= 1
            self._memory_bytes -= len(pending.topic) + len(pending.payload)
        else:
            self._outbox.acknowledge(pending.row)
        self._count()
        return True

    def lost(self) -> None:
        """The connection is over: everything unacknowledged goes to disk, and will be sent again from the oldest on."""
        self._spill()
        self._blame()
        self._outbox.commit()
        self._inflight.clear()
        self._page.clear()
        self._cursor, self._sent = OLDEST, frozenset()
        self._more_on_disk = len(self._outbox) > 0
        self._count()

    def pump(self, send: Send | None, window: int, max_bytes: int | None) -> None:
        """Send what the window allows, write what must be written.

        Args:
            send: Hands a message to the connection; None while there is none.
            window: Messages in flight at most.
            max_bytes: The largest packet that the broker takes.
        """
        now = time.monotonic()
        if self._outbox.trouble is not None and now >= self._reopen_at:
            self._reopen(now)
        while (
            send is not None
            and len(self._inflight) < window
            and not self._must_wait()
            and (pending := self._next(now)) is not None
        ):
            if not fits(pending.topic, pending.payload, max_bytes):
                log.error("%s: %d bytes are more than the broker takes; given up", pending.topic, len(pending.payload))
                if pending.row is not None:
                    self._outbox.acknowledge(pending.row)
                else:
                    self._memory_bytes -= len(pending.topic) + len(pending.payload)
                continue
            pending.sent_at = now
            mid = send(pending.topic, pending.payload, pending.retain)
            if mid is None:  # it is on disk already, or goes back to where it came from; `lost` follows
                if pending.row is None:
                    self._waiting.appendleft(pending)
                    self._waiting_bytes += len(pending.topic) + len(pending.payload)
                break
            self._inflight[mid] = pending
            self._memory_inflight += pending.row is None
        if self._must_spill(send is not None, now) and now - self._spilled_at >= SPILL_S:
            self._spill()
        rows = self._outbox.uncommitted
        if rows >= COMMIT_ROWS or (rows and (now - self._committed_at >= COMMIT_S or rows >= len(self._outbox))):
            self._outbox.commit()
            self._committed_at = now
        self._count()

    def pause_s(self) -> float:
        """How soon `pump` wants to run again although nothing happened, seconds."""
        if self._waiting:
            return SPILL_S
        oldest = self._oldest_in_memory()
        if oldest is None:
            return COMMIT_S if self._outbox.uncommitted or self._outbox.trouble is not None else QUIET_S
        return min(COMMIT_S, max(0.0, max(oldest + STALL_S, self._spilled_at + SPILL_S) - time.monotonic()))

    def _count(self) -> None:
        self.backlog = len(self._outbox) + self._memory_inflight + len(self._waiting)
        self.backlog_bytes = self._outbox.size_bytes + self._memory_bytes

    def _reopen(self, now: float) -> None:
        """Look whether a disk that was full has room, and send what an earlier process has left on it."""
        self._reopen_at = now + REOPEN_S
        self._outbox.commit()
        if self._outbox.reopen():
            self._page.clear()
            self._cursor, self._more_on_disk = OLDEST, True
            self._sent = frozenset(pending.row for pending in self._inflight.values())

    def _blame(self) -> None:
        """Give up a large message that one connection after another has ended on."""
        if len(self._inflight) != 1:
            return
        (pending,) = self._inflight.values()
        if len(pending.payload) <= LARGE_BYTES or pending.row is None:
            return
        attempts = self._suspect[1] + 1 if self._suspect[0] == pending.row else 1
        self._suspect = (pending.row, attempts)
        if attempts >= ATTEMPTS:
            self._outbox.acknowledge(pending.row)
            told = "%s: %d connections in a row ended while its %d bytes were sent; given up (see mqtt.max_bytes)"
            log.error(told, pending.topic, attempts, len(pending.payload))

    def _must_wait(self) -> bool:
        """Whether what comes next, or what is in flight, has to travel alone."""
        if not self._inflight:
            return False
        first = next(iter(self._inflight.values()))
        return len(first.payload) > LARGE_BYTES or self._next_is_large()

    def _next_is_large(self) -> bool:
        self._load()
        if self._page:
            return len(self._page[0].payload) > LARGE_BYTES
        return bool(self._waiting) and len(self._waiting[0].payload) > LARGE_BYTES

    def _load(self) -> None:
        """Have the next message that is on disk, and not in flight, at the head of the page."""
        while self._page or self._more_on_disk:
            if not self._page:
                self._page.extend(self._outbox.after(self._cursor, 200))
                self._more_on_disk = bool(self._page)
            elif self._page[0].id in self._sent:
                self._cursor = self._page.popleft().id
            else:
                return

    def _next(self, now: float) -> Pending | None:
        self._load()
        if self._page:
            stored = self._page.popleft()
            self._cursor = stored.id
            return Pending(stored.topic, stored.payload, stored.retain, now, stored.id)
        if self._waiting:
            pending = self._waiting.popleft()
            self._waiting_bytes -= len(pending.topic) + len(pending.payload)
            return pending
        return None

    def _must_spill(self, connected: bool, now: float) -> bool:
        if not self._waiting and not self._memory_inflight:
            return False
        if not connected or self._waiting_bytes > MEMORY_BYTES:
            return True
        if self._waiting and (self._page or self._more_on_disk):
            return True
        oldest = self._oldest_in_memory()
        return oldest is not None and now >= oldest + STALL_S

    def _oldest_in_memory(self) -> float | None:
        """When the oldest message that is not on disk was taken; None: all are."""
        if self._memory_inflight:  # what is in flight is older than what waits
            return next(pending.taken_at for pending in self._inflight.values() if pending.row is None)
        return self._waiting[0].taken_at if self._waiting else None

    def _spill(self) -> None:
        """Write memory to disk, in the order of publishing: in flight before waiting."""
        self._spilled_at = time.monotonic()
        inflight = [pending for pending in self._inflight.values() if pending.row is None]
        everything = [*inflight, *self._waiting]
        if not everything:
            return
        rows = self._outbox.append((pending.topic, pending.payload, pending.retain) for pending in everything)
        for pending, row in zip(inflight, rows, strict=False):
            pending.row = row
        self._memory_inflight = self._memory_bytes = 0
        if self._waiting:
            if not self._page and not self._more_on_disk:
                self._cursor = rows[len(inflight)] - 1
            self._more_on_disk = True
            self._waiting.clear()
            self._waiting_bytes = 0
