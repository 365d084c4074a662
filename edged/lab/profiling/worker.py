"""Measuring in a process of its own: `run_task` starts it, `python -m edged.lab.profiling.worker` is it.

What it weighs is measured too, so its messages are plain dicts: it loads the runtime, the model and the batch, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edged.errors import ChildError, ChildTimeoutError, ModelError
from edged.jobs.process import Child, ChildProcess, serve

TIMEOUT_S = 1800.0
"""A single batch may take minutes on a small device."""
# As fast as whoever asks. What does not fit ends there, not with the kernel's choice among all processes.
_WORKER: Child[dict[str, Any], dict[str, Any], dict[str, Any]] = Child(
    "edged.lab.profiling.worker", "measuring process", dict, dict, dict, niceness=0, keeps_errors=True
)


def run_task(
    task: str, request: dict[str, Any], *, memory: int | None = None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run a task of `tasks.TASKS` in a process of its own.

    Args:
        task: Its name.
        request: Its arguments.
        memory: Bytes of address space that it may take beyond those of a bare Python; None: any.
        timeout_s: After so long it is ended.

    Raises:
        MemoryError: It has run out of memory.
        ModelError: One line: what the task says, or how its process ended.
    """
    with ChildProcess(_WORKER, {**request, "task": task}, timeout_s=timeout_s, memory_bytes=memory) as process:
        try:
            return process.wait()
        except ChildTimeoutError as error:
            raise ModelError(f"no result after {timeout_s:.0f} s; given up") from error
        except ChildError as error:
            if error.out_of_memory:
                raise MemoryError from error
            raise ModelError(str(error)) from error


def _work(request: dict[str, Any], _: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    from edged.lab.profiling.tasks import TASKS

    return TASKS[request["task"]](request)


if __name__ == "__main__":
    serve(_WORKER, _work)
