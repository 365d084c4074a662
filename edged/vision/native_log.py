"""Keeps the runtime's chatter off a person's terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHATTER = (b"INFO: ", b"VERBOSE: ", b"W0000 ", b"I0000 ")


@contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2 meanwhile; pass on all but its notices.

    The TFLite runtimes announce each delegate there ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.") and
    their Python packages have no switch for it.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all: nothing to keep clean
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                held.seek(0)
                for line in held:
                    if not line.startswith(_CHATTER):
                        os.write(2, line)
    finally:
        os.close(saved)
