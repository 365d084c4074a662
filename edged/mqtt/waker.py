"""Wait for other threads and for a network connection at the same time, in one thread.

To wake a thread costs more than the little that a message needs. With one thread that moves packets and another that
keeps their order, each message and its acknowledgement woke four in place of two.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Protocol


class Stream(Protocol):
    """A connection that is waited for; see `Connection`."""

    @property
    def number(self) -> int:
        """Of its file; −1: it has none, or no more."""

    @property
    def buffered(self) -> bool:
        """Whether something was received that `poll` does not see any more."""

    @property
    def has_to_write(self) -> bool:
        """Whether something waits to be sent."""


class Waker:
    """One thread waits, any thread wakes it."""

    def __init__(self) -> None:
        self._wanted = False
        self._waits = False
        self._closing = threading.Lock()
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Take what it needs: two files. Whoever waits does so."""
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def close(self) -> None:
        """Give them back."""
        with self._closing:
            ends, self._ends = self._ends or (), None
            for end in ends:
                end.close()

    def wake(self) -> None:
        """End the wait, or the next one; returns at once, also before `open` and after `close`."""
        self._wanted = True  # said before it is looked whether anybody waits: see `wait`
        if self._waits:
            self._waits = False
            with self._closing, contextlib.suppress(BlockingIOError):  # full: it wakes anyway
                if self._ends is not None:
                    self._ends[1].send(b"\0")

    def clear(self) -> None:
        """Forget who woke it: what they did is about to be looked at."""
        self._wanted = False

    def wait(self, timeout_s: float, stream: Stream | None = None) -> int:
        """Wait until `wake` was called since the last `wait` or `clear`, the stream is ready, or the time is over.

        Returns:
            What can be done for the stream, as `poll` says it; 0: nothing.
        """
        poll = select.poll()  # and not select(), which knows the first 1,024 files of a process alone
        number, buffered = -1, False
        if stream is not None and (number := stream.number) >= 0:
            buffered = stream.buffered
            poll.register(number, select.POLLIN | (select.POLLOUT if stream.has_to_write else 0))
        if self._ends is not None:
            poll.register(self._ends[0], select.POLLIN)
        self._waits = True  # said before it is looked whether it is wanted: one of the two sees the other
        ready = dict(poll.poll(0 if self._wanted or buffered else timeout_s * 1000))
        self._waits = self._wanted = False
        if self._ends is not None and ready.get(self._ends[0].fileno()):
            self._ends[0].recv(4096)
        return ready.get(number, 0) | (select.POLLIN if buffered else 0)
