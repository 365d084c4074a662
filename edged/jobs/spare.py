"""A child process that is kept ready: it has loaded its libraries, and waits for its request at low priority.

Loading them takes longer than some of the work. The process waits on a pipe and ends when that is closed, by whatever,
so that it cannot outlive its parent. It holds its libraries and what `load` has read, and is the first to go when
memory runs out.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from edged import process
from edged.jobs.process import Child, end, start
from edged.memory import available_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_LEAST_BYTES = 512 * 2**20
"""With less memory to be had none is started: several times what a trainer's libraries hold."""


class Spare:
    """Keeps at most one process ready. Any thread may call it.

    Args:
        child: Which; its module passes `load` to `serve`.
        argument: Returns that for `load`; called by a thread of its own whenever one is started.
        keep_s: So long one waits for its request; 0: none is started.
        available: Returns how much memory there is, bytes.
    """

    def __init__(
        self,
        child: Child[Any, Any, Any],
        argument: Callable[[], str],
        *,
        keep_s: float,
        available: Callable[[], int] = available_bytes,
    ) -> None:
        self._child, self._argument, self._keep_s, self._available = child, argument, keep_s, available
        self._lock = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._closed = False

    def prepare(self) -> None:
        """See to it that one is ready soon, or stays so; returns at once.

        It is started by a thread that ends: later it shall die with the daemon, and not with whoever has asked here,
        see `ChildProcess`.
        """
        if self._keep_s > 0:
            threading.Thread(target=self._prepare, name="spare", daemon=True).start()

    def take(self) -> subprocess.Popen[bytes] | None:
        """Return the process that waits; it is the caller's from now on. None: none does."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
            self._forget_timer()
        if waiting is not None and waiting.poll() is not None:
            end(waiting)
            return None
        return waiting

    def close(self) -> None:
        """End the process that waits, and start none any more."""
        self._closed = True
        self._drop()

    def _prepare(self) -> None:
        with self._lock:
            if self._waiting is not None and self._waiting.poll() is not None:  # killed, because memory ran out, say
                end(self._waiting)
                self._waiting = None
            if self._closed or (self._waiting is None and self._available() < _LEAST_BYTES):
                return
            if self._waiting is None:
                try:
                    self._waiting = start(self._child, subprocess.PIPE, arguments=[self._argument()])
                except OSError as error:
                    log.debug("no %s is kept ready: %s", self._child.name, error)
                    return
                process.sacrifice(self._waiting.pid)
            self._forget_timer()
            self._timer = threading.Timer(self._keep_s, self._drop)
            self._timer.daemon = True
            self._timer.start()

    def _drop(self) -> None:
        if (waiting := self.take()) is not None:
            end(waiting)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
