"""A real daemon on a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def daemon(broker: Mosquitto, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """A factory of running daemons; each is the only one."""
    made: list[Daemon] = []

    def factory(more: str = "") -> Daemon:
        made.append(Daemon(tmp_path, broker.url, more))
        return made[-1].start()

    yield factory
    for one in made:
        one.kill()


@pytest.fixture
def edgectl(broker: Mosquitto) -> Callable[..., subprocess.Popen[str]]:
    """Start `edgectl ARGS`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("EDGECTL_")}

    def start(*args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edged.ctl", "--broker", broker.url, "--timeout", "30", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean,
        )

    return start
