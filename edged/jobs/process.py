"""A training in a process of its own, seen from the daemon: start, listen, end."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from edged.learning.request import Outcome, Progress, TrainingRequest

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

KILL_AFTER_S = 2.0
"""How long a process that was asked to end may take."""


class TrainingProcess:
    """A spawned trainer.

    The process dies with the *thread* that started it (PR_SET_PDEATHSIG means the thread), so the same thread must
    start it and wait for it.

    Args:
        request: What to train.
        module: Path of the module whose `main` the process runs; it is imported there and not here.
    """

    def __init__(self, request: TrainingRequest, module: str = "edged.learning.trainer") -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(module, request, theirs), name="edged-trainer", daemon=True)
        try:
            self._process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()  # else its end would never be seen

    @property
    def pid(self) -> int | None:
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
        if self._process.is_alive():
            self._process.join(0.2)  # it may just be on its way out
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(KILL_AFTER_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def stop(self) -> None:
        """End the process at once: terminate, and kill after a while."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(KILL_AFTER_S)
        self.end()

    def close(self) -> None:
        """Give everything back; ends the process where it runs."""
        self.stop()
        self._connection.close()
        self._process.close()

    def _how_it_ended(self) -> str:
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"ended without a result (exit code {code}); the log tells more"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was killed by signal {-code} ({name})" + ("; out of memory?" if code == -signal.SIGKILL else "")


def _run(module: str, request: TrainingRequest, connection: Connection) -> None:
    """Begin in the new process."""
    importlib.import_module(module).main(request, connection)
