"""A real Mosquitto on a free port, and edgectl run as a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Edgectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def broker_port(tmp_path: Path) -> Iterator[int]:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("needs mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([program, "-c", str(config)], **quiet) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.terminate()


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "mosquitto does not start"
            time.sleep(0.05)


def environment(port: int | None = None, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("EDGECTL_", "COLUMNS"))}
    return clean | ({"EDGECTL_BROKER": f"mqtt://localhost:{port}"} if port else {}) | more


@pytest.fixture
def edgectl(broker_port: int, tmp_path: Path) -> Edgectl:
    """Run `edgectl ARGS` against the broker; returns the finished process."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def call(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edged.ctl", *args],
            env=environment(broker_port, **more),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return call
