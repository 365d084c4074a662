"""A real daemon on a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.daemon.running import Running, Systemd, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def daemon(broker: Mosquitto, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """A factory of running daemons (options: see the class); each is the only one."""
    made: list[Daemon] = []

    def factory(more: str = "", **options: Any) -> Daemon:
        made.append(Daemon(tmp_path, broker.url, more, **options))
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
            [sys.executable, "-m", "edged.ctl", "--broker", broker.url, "--timeout", str(PATIENCE_S), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean,
        )

    return start


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """A factory of `edged run`s, started; options: see `Running`, and `environment`, more variables."""
    made: list[Running] = []

    def factory(
        url: str, *, folder: str = "device", environment: dict[str, str] | None = None, **options: object
    ) -> Running:
        made.append(Running(tmp_path / folder, url, **options))  # type: ignore[arg-type]  # passed through
        return made[-1].start(**(environment or {}))

    yield factory
    for one in made:
        one.kill()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def factory(broker: Mosquitto, device: str = "dut") -> Watcher:
        watchers.append(Watcher(broker.port, device))
        return watchers[-1]

    yield factory
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def systemd(short_path: Path) -> Iterator[Systemd]:
    one = Systemd(short_path / "notify")
    yield one
    one.close()
