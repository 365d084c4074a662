"""Waiting for what must come to pass: no test sleeps for a while and hopes, and none depends on a fast machine."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Far more than anything takes on a busy, slow machine. Only a test that fails waits so long."""


def wait_until(done: Callable[[], object], *, what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll until something holds; fail, saying what, after a very long while."""
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.01)
