"""A broker that comes and goes is not taken for a rival; one that the broker names is."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from edged.mqtt.events import Closed, Version
from edged.mqtt.link import Link
from edged.mqtt.retry import RECENT_LONGEST_S, Retry
from tests.mosquitto import HOST, Mosquitto
from tests.mqtt.conftest import DEVICE, wait_for
from tests.waiting import PATIENCE_S

MakeLink = Callable[..., Link]
MakeBroker = Callable[..., Mosquitto]


class Noted(Retry):
    """Decides as it does on a device, but gives up no attempt on a slow machine; remembers what it decided."""

    def __init__(self, protocol: Version = "5") -> None:
        super().__init__(device=DEVICE)
        self.protocol = protocol
        self.decided: list[tuple[str, float, str]] = []

    def patience_s(self, host: str) -> float:
        return PATIENCE_S

    def closed(self, now: float, end: Closed) -> tuple[float, str]:
        delay_s, error = super().closed(now, end)
        self.decided.append((end.how, delay_s, error))
        return delay_s, error


def test_a_broker_that_is_killed_again_and_again_is_met_again_within_seconds(
    mosquitto: MakeBroker, link: MakeLink
) -> None:
    broker = mosquitto()
    retry = Noted()
    running = link(broker.url, retry=retry)
    for _ in range(6):
        wait_for(lambda: running.connected, "connected")
        broker.kill()
        wait_for(lambda: not running.connected, "noticed")
        broker.start()
    wait_for(lambda: running.connected, "connected after all that")
    assert sum(how == "lost" for how, _, _ in retry.decided) == 6
    assert max(delay_s for _, delay_s, _ in retry.decided) <= RECENT_LONGEST_S
    assert running.last_error is None


class Naming:
    """A broker of MQTT 5 that lets everybody in, and tells whoever was there before that the session is taken over.

    Mosquitto 2.0.11 closes the older connection without a word.
    """

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self.url = f"mqtt://{HOST}:{self._server.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        self._server.settimeout(0.02)
        taken: list[socket.socket] = []
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = self._server.accept()
                near.recv(4096)
                near.sendall(b"\x20\x03\x00\x00\x00")
                if taken:
                    taken[-1].sendall(b"\xe0\x02\x8e\x00")
                taken.append(near)
        for near in taken:
            near.close()


@pytest.fixture
def naming() -> Iterator[Naming]:
    broker = Naming()
    yield broker
    broker.close()


def test_a_rival_that_the_broker_names_is_given_way_to(naming: Naming, link: MakeLink) -> None:
    retry = Noted()
    one = link(naming.url, retry=retry)
    wait_for(lambda: one.connected, "the first")
    other = link(naming.url, state="other")
    wait_for(lambda: other.connected and retry.decided, "the second")
    ((how, delay_s, error),) = retry.decided
    assert (how, one.connected) == ("taken over", False)
    assert 30 <= delay_s <= 60
    assert error == f"another client uses device id {DEVICE!r}; give each device an id of its own (device.id)"
    wait_for(lambda: one.last_error == error, "told")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_rival_that_the_broker_does_not_name_is_only_hinted_at(
    mosquitto: MakeBroker, link: MakeLink, protocol: Version
) -> None:
    broker = mosquitto()
    retries = [Noted(protocol), Noted(protocol)]
    for number, retry in enumerate(retries):
        link(broker.url, state=str(number), retry=retry)

    def told() -> bool:  # newer Mosquittos name it in MQTT 5
        return any("another client uses device id" in error for retry in retries for _, _, error in retry.decided)

    wait_for(told, "a hint")
    decided = list(itertools.chain.from_iterable(retry.decided for retry in retries))
    assert all(delay_s <= RECENT_LONGEST_S for how, delay_s, _ in decided if how != "taken over")
    assert protocol == "5" or {retry.warning for retry in retries} == {None}
