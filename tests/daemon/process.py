"""A real `edged run` as a process of its own: started, stopped and killed at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.waiting import PATIENCE_S, wait_until


class Daemon:
    """`edged run` on one camera with the shipped model.

    Args:
        folder: For its configuration, state and log.
        url: The broker's.
        more: Lines of TOML after the others.
        fps: Of the camera; 0: it waits for the network, and no frame is dropped on a slow machine.
        source: Of the camera.
        program: What `python` is told to run as `edged`.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        more: str = "",
        *,
        fps: float = 5,
        source: str = "pattern",
        program: Sequence[str] = ("-m", "edged"),
    ) -> None:
        self.state_dir = folder / "state"
        self.log_file = folder / "edged.log"
        self._url = url
        self._program = program
        self._config = folder / "edged.toml"
        self._config.write_text(
            f'[device]\nid = "dut"\n[mqtt]\nurl = "{url}"\n[storage]\nstate_dir = "{self.state_dir}"\n'
            f'[cameras.main]\nsource = "{source}"\nfps = {fps}\n[model]\nthreads = 1\n{more}'
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def start(self, *arguments: str) -> Daemon:
        ready = self.log.count("first result") if self.log_file.exists() else 0
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EDGED_")}
        with self.log_file.open("ab") as log:
            command = [sys.executable, *self._program, "run", "--config", str(self._config), *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return self.log.count("first result") > ready and "connected to broker" in self.log

        wait_until(up, what="edged run")
        # It subscribes to its commands before it says `online`, which is later than the line in the log.
        with Client(brokers(MqttSettings(url=self._url)), timeout_s=PATIENCE_S) as client:
            with client.subscribe("dut/state") as states:
                while (state := states.get(PATIENCE_S)) is not None and state.payload != b"online":
                    pass
            assert state is not None, "it never said that it is online"
        return self

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code
