"""The thread that serves the connection, beside brokers and disks that make it wait."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from edged.mqtt.ledger import Ledger
from edged.mqtt.link import Link
from edged.mqtt.outbox import Outbox
from edged.mqtt.retry import Retry
from edged.settings import MqttSettings
from tests.mqtt.conftest import DEVICE, wait_for
from tests.mqtt.scripted_broker import CONNECT, PING, PUBLISH, ScriptedBroker

MakeLink = Callable[..., Link]


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    made = ScriptedBroker()
    yield made
    made.close()


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("edged-mqtt")}


def test_a_stop_is_over_in_time_beside_a_broker_that_acknowledges_nothing(
    broker: ScriptedBroker, link: MakeLink, tmp_path: Path
) -> None:
    running = link(broker.url)
    wait_for(lambda: running.connected, "connected")
    broker.acknowledges = False
    running.publish("result/main", b"1")
    wait_for(lambda: broker.count(PUBLISH) > 1, "it was sent")
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "outbox.sqlite")) as outbox:
        wait_for(lambda: outbox.execute("SELECT count(*) FROM outbox").fetchone()[0], "it is on disk")
    running.stop(3.1)
    assert threads() == set(), "none is left that still waits for the broker"


def test_a_broker_is_pinged_as_often_as_it_wants(broker: ScriptedBroker, link: MakeLink) -> None:
    broker.keep_alive_s = 4  # leaves a slow machine a second: it is due after 4, and looked for each second, of 6
    running = link(broker.url)
    wait_for(lambda: broker.count(PING) > 1, "pings")
    assert broker.count(CONNECT) == 1
    assert running.connected


class SlowOutbox(Outbox):
    """Takes longer for its first commit than a broker next door may take to answer."""

    slow = True

    def append(self, messages: Iterable[tuple[str, bytes, bool]]) -> list[int]:
        if self.slow:
            self.slow = False
            time.sleep(0.7)
        return super().append(messages)


def test_a_slow_disk_is_not_taken_for_a_broker_that_does_not_answer(broker: ScriptedBroker, tmp_path: Path) -> None:
    made = Link(
        settings=MqttSettings(url=(broker.url,)),
        device=DEVICE,
        outbox=SlowOutbox(tmp_path / "outbox.sqlite", 64),
        ledger=Ledger(tmp_path / "commands.sqlite"),
        on_command=lambda _: None,
        retry=Retry(device=DEVICE),
    )
    made.publish("result/main", b"1")
    made.start()
    try:
        wait_for(lambda: made.connected and made.backlog == 0, "taken")
        assert [level for kind, level in broker.heard if kind == CONNECT] == [5]
    finally:
        made.stop(1.0)
