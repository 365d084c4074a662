"""A broker that stalls and a process that dies meanwhile: what has waited longer than half a second is on disk."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged.mqtt.link import Link
from edged.mqtt.outbox import OLDEST, Outbox
from tests.mosquitto import Mosquitto
from tests.mqtt.conftest import Watcher, wait_for
from tests.waiting import PATIENCE_S

PRODUCER = Path(__file__).with_name("producer.py")
# What is promised, and written down in `delivery` too: how long a message may wait in memory, and between two commits.
STALL_S, SPILL_S = 0.375, 0.1


class Producer:
    """A process with a link of its own that publishes results without end."""

    def __init__(self, url: str, folder: Path) -> None:
        self.first = 0
        """What this run of the process began with."""
        self._log = folder / "produced.log"
        self._command = [sys.executable, str(PRODUCER), url, str(folder / "state")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.first = max(self.made, default=-1) + 1
        self._process = subprocess.Popen([*self._command, str(self.first), str(self._log)])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def _told(self, what: str) -> list[list[str]]:
        lines = self._log.read_text().splitlines()[:-1] if self._log.exists() else []  # the last one may be half there
        return [line.split()[1:] for line in lines if line.startswith(what)]

    @property
    def made(self) -> dict[int, float]:
        """Message → when it was made, on the monotonic clock, which all processes share."""
        return {int(seq): float(at) for seq, at in self._told("made")}

    @property
    def turn(self) -> float:
        """When the last turn of the link's thread that is over began."""
        return max((float(at) for (at,) in self._told("turn")), default=0.0)


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Callable[[str], Producer]]:
    made: list[Producer] = []

    def make(url: str) -> Producer:
        made.append(Producer(url, tmp_path))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_a_process_killed_while_the_broker_stalls_loses_only_the_last_half_second(
    mosquitto: Callable[..., Mosquitto], watch: Callable[[int], Watcher], producer: Callable[[str], Producer]
) -> None:
    broker = mosquitto()
    seen = watch(broker.port)

    def arrived() -> set[int]:
        return {int(payload) for payload in seen.of("result/main")}

    running = producer(broker.url)
    safe: set[int] = set()
    for _ in range(2):
        before = max(arrived(), default=-1)
        wait_for(lambda before=before: max(arrived(), default=-1) > before + 50, "results")
        broker.pause()
        stalled_at = time.monotonic()

        def owed(stalled_at: float = stalled_at) -> bool:
            """Whether something that was never acknowledged must be on disk by now."""
            on_disk_by = running.turn - STALL_S - SPILL_S
            return any(stalled_at < at < on_disk_by for at in running.made.values())

        wait_for(owed, "a message of after the stall, on disk")
        running.kill()
        on_disk_by = running.turn - STALL_S - SPILL_S  # no matter how slow the machine is: that turn was completed
        now_safe = {seq for seq, at in running.made.items() if seq >= running.first and at < on_disk_by}
        assert any(running.made[seq] > stalled_at for seq in now_safe), "some were never acknowledged"
        safe |= now_safe
        broker.kill()  # with what lies in its socket: only the disk has it now
        wait_for(lambda: not seen.ready.is_set(), "the subscriber has noticed")
        broker.start()
        wait_for(seen.ready.is_set, "the subscriber is back")
        running.start()
    wait_for(lambda: safe <= arrived(), "all that was made in time")
    running.kill()


def test_a_broker_that_acknowledges_costs_the_disk_nothing(
    mosquitto: Callable[..., Mosquitto], link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edged.mqtt.delivery.STALL_S", PATIENCE_S)  # a slow machine is no broker that owes an answer
    broker = mosquitto()
    running = link(broker.url)
    wait_for(lambda: running.connected, "connected")
    folder = tmp_path / "state"
    wait_for(lambda: running.backlog == 0, "nothing left of the start")
    files = {path: path.stat().st_mtime_ns for path in folder.glob("outbox.sqlite*")}
    for number in range(2000):
        running.publish("result/main", str(number).encode())
    wait_for(lambda: running.backlog == 0, "all acknowledged")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("outbox.sqlite*")} == files
    running.stop(PATIENCE_S)
    outbox = Outbox(folder / "outbox.sqlite", 1)
    assert not outbox.after(OLDEST, 1)
    outbox.close()
