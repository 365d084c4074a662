"""Keeps the runtime's chatter off a person's terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from edged import process

_CHATTER = (b"INFO: ", b"VERBOSE: ", b"W0000 ", b"I0000 ")


@contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2 meanwhile; pass on all but its notices.

    The TFLite runtimes announce each delegate there ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.") and
    their Python packages have no switch for it. Threads may be inside at the same time: the descriptor is the
    process's, so the first one in redirects it and the last one out puts it back.
    """
    _inside.enter()
    try:
        yield
    finally:
        _inside.leave()


class _Inside:
    """Counts the threads inside, and undoes the redirection after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._undo = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._threads == 0:
                self._undo = _redirected()
            self._threads += 1

    def leave(self) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._undo.close()


_inside = _Inside()


def _redirected() -> ExitStack:
    """Redirect file descriptor 2 to a file; closing what is returned undoes that and passes on what is no chatter."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    with ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # no stderr at all: nothing to keep clean
            return ExitStack()
        stack.callback(os.close, saved)
        held = stack.enter_context(process.file_in_memory("native log"))

        def restore() -> None:
            os.dup2(saved, 2)
            held.seek(0)
            for line in held:
                if not line.startswith(_CHATTER):
                    os.write(2, line)

        os.dup2(held.fileno(), 2)
        stack.callback(restore)
        return stack.pop_all()
