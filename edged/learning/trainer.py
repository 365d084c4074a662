"""The trainer process: `python -m edged.learning.trainer CONNECTION PARENT`, a file descriptor and a process id.

Its first lines make it harmless to the daemon, only then does it load its libraries.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from edged.errors import EdgedError, RefusedError
from edged.learning.request import Outcome, Progress, TrainingRequest

if TYPE_CHECKING:
    from edged.learning.choice import Choose

NICENESS = 10
OOM_SCORE = 500
"""Of −1000..1000: when memory runs out the kernel takes the trainer, not the daemon."""
_TELL_S = 0.1
"""Least time between two messages of the same stage."""
_PR_SET_PDEATHSIG = 1


def main(connection: Connection, parent: int, choose: Choose | None = None) -> int:
    """Receive a `TrainingRequest`, train and send `Progress`, then one `Outcome`; return the exit code.

    Args:
        connection: To the daemon.
        parent: The daemon's process id.
        choose: As `pipeline.train` takes it.
    """
    _step_back()
    _die_with(parent)
    limit_threads()
    logging.basicConfig(level=logging.WARNING, format="trainer: %(message)s")
    try:
        request: TrainingRequest = connection.recv()
        connection.send(run_here(request, _Throttle(connection), choose))
    except (EOFError, ConnectionError):  # the daemon is gone
        return 1
    return 0


def limit_threads() -> None:
    """One thread per BLAS call: batches are small, and a pool that spins takes turns with the live network.

    Has an effect only before numpy is imported for the first time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def run_here(request: TrainingRequest, tell: Callable[[Progress], None], choose: Choose | None = None) -> Outcome:
    """Run the pipeline in this process; whatever it raises becomes an outcome."""
    try:
        from edged.learning.pipeline import train

        return train(request, tell, choose)
    except RefusedError as error:
        return Outcome("rejected", error=str(error))
    except EdgedError as error:
        return Outcome("failed", error=str(error))
    except ConnectionError:
        raise
    except MemoryError:
        return Outcome("failed", error="the trainer has run out of memory")
    except Exception as error:  # the top of a process
        logging.getLogger(__name__).exception("the trainer has failed")
        return Outcome("failed", error=f"internal error ({type(error).__name__}); the daemon's log tells more")


class _Throttle:
    """Sends progress, but not more often than anyone reads it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stage = ""
        self._at = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage or now - self._at >= _TELL_S:
            self._stage, self._at = progress.stage, now
            self._connection.send(progress)


def _step_back() -> None:
    """Let live classification, and everyone else, go first. What the system does not allow is left alone."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the daemon, which then ends us


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the thread that started us ends, by whatever."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel heard of our wish
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(Connection(int(sys.argv[1])), int(sys.argv[2])))
