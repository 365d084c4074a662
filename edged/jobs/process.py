"""A training in a process of its own, seen from the daemon: start, listen, end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait

from edged.learning.request import Outcome, Progress, TrainingRequest

KILL_AFTER_S = 2.0
"""How long a process that was asked to end may take."""


class TrainingProcess:
    """A spawned trainer.

    The process dies with the *thread* that started it (PR_SET_PDEATHSIG means the thread), so the same thread must
    start it and wait for it.

    It is started by `subprocess`, not by `multiprocessing.Process`: that one also starts a resource tracker, a process
    that would outlive the training and that systemd would have to kill when the service stops.

    Args:
        request: What to train.
        module: Path of the module that the process runs; it is imported there and not here.
    """

    def __init__(self, request: TrainingRequest, module: str = "edged.learning.trainer") -> None:
        self._connection, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()  # else its end would never be seen
        with suppress(BrokenPipeError):  # it has ended already, which `receive` tells
            self._connection.send(request)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def receive(self, timeout_s: float) -> Progress | Outcome | None:
        """Return the next message; None where none came in time.

        A process that ends without an outcome has failed, and this says how.
        """
        connection: Connection = self._connection
        if not wait([connection], timeout_s):
            return None
        try:
            message: Progress | Outcome = connection.recv()
        except (EOFError, OSError):
            self.end()
            return Outcome("failed", error=f"the trainer {self._how_it_ended()}")
        return message

    def end(self) -> None:
        """Ask the process to end, kill it after a while, and wait for it; does nothing where it has ended."""
        if not self._ended(0.2):  # it may just be on its way out
            self.stop()

    def stop(self) -> None:
        """End the process at once: terminate, and kill after a while."""
        self._process.terminate()
        if not self._ended(KILL_AFTER_S):
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Give everything back; ends the process where it runs."""
        self.stop()
        self._connection.close()

    def _ended(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return f"ended without a result (exit code {code}); the log tells more"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was killed by signal {-code} ({name})" + ("; out of memory?" if code == -signal.SIGKILL else "")
