"""edgectl run as a process of its own, against a real Mosquitto."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.ctl.client import Client
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S

Edgectl = Callable[..., "subprocess.CompletedProcess[str]"]
_PROGRAM = """
import sys
from edged.ctl import connect, fleet, main
connect._CONNACK_V5_S = fleet._LIVE_S = float("inf")
sys.exit(main())
"""
"""edgectl, which waits for answers as long as `--timeout` says: a slow machine keeps people waiting."""


class Unhurried(Client):
    """Waits for the broker as long as a slow machine needs: `timeout_s` limits only the wait for a device's answer."""

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        super().publish(topic, payload, **options | {"timeout_s": PATIENCE_S})

    def _confirmed(self, mid: int) -> None:
        of_device_s, self.timeout_s = self.timeout_s, PATIENCE_S
        try:
            super()._confirmed(mid)
        finally:
            self.timeout_s = of_device_s


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A Mosquitto that lets everybody in, and still knows what is retained when it is started again."""
    return mosquitto(persistence=True)


@pytest.fixture
def broker_port(broker: Mosquitto) -> int:
    """The port of that Mosquitto."""
    return broker.port


def environment(port: int | None = None, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("EDGECTL_", "COLUMNS"))}
    return clean | ({"EDGECTL_BROKER": f"mqtt://127.0.0.1:{port}"} if port else {}) | more


@pytest.fixture
def edgectl(broker_port: int, tmp_path: Path) -> Edgectl:
    """Run `edgectl ARGS` against the broker; returns the finished process."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def call(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, "--timeout", f"{PATIENCE_S:g}", *args],
            env=environment(broker_port, **more),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return call
