"""edged as the service of a booted machine, and a subscriber to all that it tells its broker."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from tests.booted.machine import Machine
from tests.waiting import PATIENCE_S, wait_until

DEVICE = "dut"
CONFIG = f"""
[device]
id = "{DEVICE}"
[cameras.main]
source = "pattern"
fps = 10
[model]
threads = 1
[telemetry]
interval_s = 0.5
[retrain]
keep_frames = false
"""
CONFIG_FILE = "/etc/edged/edged.toml"
DROP_IN = "/etc/systemd/system/edged.service.d/test.conf"
EDGED = "/opt/edged/bin/edged"
EDGECTL = "/opt/edged/bin/edgectl"

_numbers = itertools.count()


class Message(NamedTuple):
    """What the broker handed out."""

    topic: str
    retained: bool
    payload: str


class Subscriber:
    """Everything below `edged/dut/`, in the order in which it came."""

    def __init__(self, machine: Machine) -> None:
        # With a session that outlives a restart of the broker, which is then sent what it has missed. A pipe would
        # otherwise get its output in large pieces.
        session = f"-c -i watcher-{next(_numbers)} -x 3600 -V 5 -q 1"
        command = ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", *session.split()]
        command += ["-t", f"edged/{DEVICE}/#", "-F", "%t %r %p"]
        self._process = subprocess.Popen(
            machine.command(*command), stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
        )
        self.messages: list[Message] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            topic, retained, payload = line.rstrip("\n").split(" ", 2)
            self.messages.append(Message(topic.removeprefix(f"edged/{DEVICE}/"), retained == "1", payload))

    def of(self, topic: str) -> list[Any]:
        """Return what came on a topic, decoded."""
        return [json.loads(message.payload) for message in list(self.messages) if message.topic == topic]

    @property
    def results(self) -> list[dict[str, Any]]:
        """All results of the camera."""
        return self.of("result/main")

    @property
    def states(self) -> list[str]:
        """What `state` said, one after the other."""
        return [message.payload for message in list(self.messages) if message.topic == "state"]

    def wait_for_results(self, count: int = 3, boot_not: str | None = None) -> list[dict[str, Any]]:
        """Wait for so many more results than there are now, of another start of the daemon than `boot_not`."""

        def wanted() -> list[dict[str, Any]]:
            return [result for result in self.results if result["boot"] != boot_not]

        before = len(wanted())
        wait_until(lambda: len(wanted()) >= before + count, what=f"{count} results")
        return wanted()

    def close(self) -> None:
        """End it."""
        os.killpg(self._process.pid, signal.SIGKILL)  # nsenter, and its child inside
        self._process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Service:
    """`edged.service` of a booted machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.restarts = 0
        self._subscribers: list[Subscriber] = []

    def begin(self) -> None:
        """Start it as it was installed, unless it runs."""
        self.configure(CONFIG)
        self.machine.check("systemctl", "reset-failed")
        self.machine.check("systemctl", "start", "mosquitto", "edged")
        self.restarts = self._restarts()

    def end(self) -> None:
        """Undo what a test has changed."""
        self.unsubscribe()
        drop_in = self.machine.root / DROP_IN.lstrip("/")
        if drop_in.exists():
            drop_in.unlink()
            self.machine.check("systemctl", "daemon-reload")
            self.machine.run("systemctl", "stop", "edged")

    def unsubscribe(self) -> None:
        """End all subscribers."""
        while self._subscribers:
            self._subscribers.pop().close()

    def configure(self, text: str) -> None:
        """Write the configuration."""
        self.machine.write(CONFIG_FILE, text)

    def add_to_unit(self, lines: str) -> None:
        """Change the unit as `systemctl edit` does; it counts from the next start."""
        self.machine.write(DROP_IN, lines)
        self.machine.check("systemctl", "daemon-reload")

    def subscribe(self) -> Subscriber:
        """Listen to its broker from now on."""
        self._subscribers.append(Subscriber(self.machine))
        return self._subscribers[-1]

    @property
    def pid(self) -> int:
        """Its main process; 0: none."""
        return int(self.machine.show("MainPID"))

    @property
    def state(self) -> str:
        """As `systemctl is-active` says it."""
        return self.machine.run("systemctl", "is-active", "edged").stdout.strip()

    def _restarts(self) -> int:
        return int(self.machine.show("NRestarts"))

    @property
    def unsent(self) -> int:
        """How many messages wait on disk for the broker; counted in a copy, so as not to get into its way."""
        state = self.machine.root / "var/lib/edged"
        with tempfile.TemporaryDirectory() as folder:
            for path in state.glob("outbox.sqlite*"):
                shutil.copy(path, folder)
            database = sqlite3.connect(Path(folder, "outbox.sqlite"))
            try:
                return int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])
            except sqlite3.DatabaseError:  # copied while it was being written to
                return 0
            finally:
                database.close()

    def edgectl(self, *words: str) -> str:
        """Run `edgectl` on the machine; it must succeed."""
        return self.machine.check(EDGECTL, "--device", DEVICE, "--timeout", str(PATIENCE_S), *words)

    def wait_for_another(self, pid: int) -> None:
        """Wait until systemd has started another process than `pid`, and that one works."""
        wait_until(lambda: self.pid not in (0, pid) and self.state == "active", what="the restart")
        assert self._restarts() == self.restarts + 1
