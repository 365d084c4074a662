"""Whether a process still works, or waits for what will never come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from edged.jobs.standstill import LOOKS, Standstill, processor_ticks
from tests.waiting import wait_until

SLEEPS = "import time; time.sleep(300)"
WORKS = "while True: pass"
LETS_WORK = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{WORKS}'], start_new_session=True)"


@contextmanager
def running(code: str) -> Iterator[int]:
    """A Python that runs this; its process id."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            yield process.pid
        finally:
            with suppress(psutil.Error):  # it has ended
                for other in psutil.Process(process.pid).children(recursive=True):
                    other.kill()
            process.kill()


@pytest.mark.parametrize("code", [WORKS, LETS_WORK])
def test_what_works_is_seen_also_where_another_does_the_work(code: str) -> None:
    """Children of edged begin sessions of their own, and a profile waits for one."""
    with running(code) as pid:
        for _ in range(3):
            before = processor_ticks(pid)
            wait_until(lambda before=before: processor_ticks(pid) > before + 20, what="processor time")


def test_what_sleeps_stands_still() -> None:
    with running(SLEEPS) as pid:
        watch = Standstill(pid, 0.6)
        wait_until(watch.lasts, what="a standstill")


def test_a_pause_of_the_watcher_is_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both were stopped together nothing was done for long, and yet nothing is wrong."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with running(SLEEPS) as pid:
        watch = Standstill(pid, 60.0)
        for moment in (10.0, 20.0, 20_000.0):
            now[0] = moment
            assert not watch.lasts()


def test_nothing_is_looked_at_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with running(SLEEPS) as pid:
        watch = Standstill(pid, 60.0)
        assert not any(watch.lasts() for _ in range(10 * LOOKS))


def test_of_a_process_that_is_gone_there_is_none() -> None:
    with running("") as pid:
        pass
    assert processor_ticks(pid) == 0
