"""Waiting for what must come to pass: no test sleeps for a while and hopes, and none depends on a fast machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

PATIENCE_S = 300.0
"""Far more than anything takes on a busy, slow machine. Only a test that fails waits so long."""


def wait_until(done: Callable[[], object], *, what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll until something holds; fail, saying what, after a very long while."""
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.01)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is over. A zombie is: who adopted it may never ask for its exit code."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
