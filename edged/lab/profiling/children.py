"""Starting what is measured in a process of its own, and reading what it says or how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from edged.errors import ModelError

TIMEOUT_S = 1800.0
"""A single batch may take minutes on a small device."""


def run_child(
    task: str, request: dict[str, Any], *, memory: int | None = None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run a task of `tasks.TASKS` in a process of its own.

    Args:
        task: Its name.
        request: Its arguments.
        memory: Bytes of address space that it may take beyond those of a bare Python; None: any.
        timeout_s: After so long it is ended.

    Raises:
        ModelError: One line: what the task says, or how its process ended.
    """
    message = json.dumps({**request, "task": task, "parent": os.getpid(), "memory": memory})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edged.lab.profiling.worker"],
            input=message,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"no result after {timeout_s:.0f} s; given up") from error
    *_, line = done.stdout.splitlines() or [""]
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        answer = {"error": f"the measuring process {_ending(done)}", "memory": _ran_out(done)}
    if "result" in answer:
        result: dict[str, Any] = answer["result"]
        return result
    if answer.get("memory"):
        raise MemoryError
    raise ModelError(answer["error"])


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"was ended by {signal.Signals(-done.returncode).name}"
    said = done.stderr.strip().splitlines()
    return f"ended with exit code {done.returncode}" + (f": {said[-1]}" if said else "")


def _ran_out(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it died for lack of memory: the kernel's SIGKILL, or a C++ allocation that failed."""
    native = any(word in done.stderr for word in ("bad_alloc", "MemoryError", "Cannot allocate memory"))
    return done.returncode == -signal.SIGKILL or native
