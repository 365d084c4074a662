"""One deadline for a whole stop, which its parts share: timeouts of their own would add up to more than systemd has."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

STOP_S = 16.0
"""How long a stop takes at most when all goes as it should. The unit's TimeoutStopSec is 20."""
LINK_S = 9.0
"""Of these, what is left for the broker, whatever the other parts take: unsent messages must get to the disk."""
LEAVE_S = 18.0
"""After so long the process leaves, whatever still runs. All that edged writes is whole at every moment."""


class StopDeadline:
    """From `begin` on it runs; before, and in a test that never begins, there is all the time of a stop."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._lock = threading.Lock()

    def begin(self, exit_code: Callable[[], int]) -> None:
        """Let the time run; at its end the process leaves with this exit code. A second call changes nothing."""
        with self._lock:
            if self._end is not None:
                return
            self._end = time.monotonic() + STOP_S
        threading.Thread(target=_guard, args=(exit_code,), name="stop-guard", daemon=True).start()

    def left(self, at_most: float) -> float:
        """Return how long a part may take, seconds, 0 or more: all of them together leave `LINK_S` for the link."""
        return max(0.0, min(at_most, self.left_for_link() - LINK_S))

    def left_for_link(self) -> float:
        """Return how long the link may take, seconds, 0 or more."""
        return STOP_S if self._end is None else max(0.0, self._end - time.monotonic())


def leave_behind(exit_code: int) -> None:
    """End the process now if threads are left that would keep it: the interpreter waits for them without a limit."""
    if stuck := [thread.name for thread in _at_work() if not thread.daemon]:
        log.warning("stopped, while still at work: %s", ", ".join(stuck))
        _leave(exit_code)


def _guard(exit_code: Callable[[], int]) -> None:
    time.sleep(LEAVE_S)
    names = ", ".join(thread.name for thread in _at_work())
    log.error("the stop has taken %g s; leaving at once; still at work: %s", LEAVE_S, names or "the main thread")
    _leave(exit_code())


def _at_work() -> list[threading.Thread]:
    ours = (threading.main_thread(), threading.current_thread())
    return [thread for thread in threading.enumerate() if thread not in ours]


def _leave(exit_code: int) -> None:
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)
