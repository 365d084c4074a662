"""Opening one session: which protocol version is spoken, and what is said where the broker does not let us in."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.mqtt.events import Version
from edged.mqtt.session import Session, first_answer, open_session
from edged.mqtt.sockets import Stream, send_at_once
from edged.settings import MqttSettings
from tests.mosquitto import HOST, Mosquitto, free_port
from tests.waiting import PATIENCE_S, wait_until

LEVELS = {4: "3.1.1", 5: "5"}
"""The protocol level in a CONNECT packet, and the version that it stands for."""


class OldBroker:
    """Answers each CONNECT as it is told to, by the protocol version; an answer of None keeps it waiting."""

    def __init__(self, answers: dict[str, bytes | None]) -> None:
        self.port = free_port()
        self.asked: list[str] = []
        self._answers = answers
        self._over = threading.Event()
        self._server = socket.create_server((HOST, self.port))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        self._server.settimeout(0.02)
        held: list[socket.socket] = []
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                near, _ = self._server.accept()
                near.settimeout(PATIENCE_S)
                held.append(near)
                packet = near.recv(4096)
                version = LEVELS[packet[packet.index(b"MQTT") + 4]]
                self.asked.append(version)
                if (answer := self._answers[version]) is not None:
                    near.sendall(answer)
                    if answer == b"":
                        near.close()
        for near in held:
            near.close()


@pytest.fixture
def old_broker() -> Iterator[Callable[[dict[str, bytes | None]], OldBroker]]:
    made: list[OldBroker] = []

    def make(answers: dict[str, bytes | None]) -> OldBroker:
        made.append(OldBroker(answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def net_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "edged-mqtt-net"]


def opened(url: str, *, timeout_s: float = PATIENCE_S, **settings: Any) -> Session:
    made = brokers(MqttSettings(url=url, **settings))
    return open_session(made, purpose="doctor", will_topic="edged/d1/doctor", timeout_s=timeout_s)


def test_the_newest_version_is_tried_first_and_the_other_only_where_it_may_help() -> None:
    tried: list[Version] = []

    def attempt(version: Version) -> Version:
        tried.append(version)
        return version

    assert first_answer(attempt, lambda _: False) == "5"
    assert tried == ["5"]
    assert first_answer(attempt, lambda answer: answer == "5") == "3.1.1"
    assert first_answer(attempt, lambda _: True) == "3.1.1"
    assert tried == ["5", "5", "3.1.1", "5", "3.1.1"], "each version once"


def test_a_session_has_a_client_id_of_its_own_and_ends_when_it_is_closed(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    server = mosquitto()
    one = opened(server.url)
    began = time.monotonic()
    other = opened(server.url)
    assert other.ms <= 1e3 * (time.monotonic() - began)
    assert (one.error, one.final, other.error, other.final) == (None, True, None, True)
    assert one.ms > 0
    assert len(set(re.findall(r"as (edged-doctor-[0-9a-f]{8}) ", server.log))) == 2
    assert "already connected" not in server.log, "neither disturbs the other"
    assert one.connection.protocol == "5"
    for session in (one, other, one):
        session.close()
    wait_until(lambda: server.log.count("disconnected") == 2, what="both have left")
    assert one.events.get(timeout=PATIENCE_S) is not None, "it is told on its own queue that it ended"
    with pytest.raises(queue.Empty):
        one.events.get_nowait()


def test_nobody_who_listens_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(f"mqtt://{HOST}:{free_port()}")
    assert session.error is not None
    assert "Connection refused" in session.error
    assert session.final
    session.close()


def test_a_refused_login_is_final(mosquitto: Callable[..., Mosquitto]) -> None:
    server = mosquitto(users={"joe": "right"}, allow_anonymous=False)
    session = opened(server.url)
    assert session.error is not None
    assert "refused a login without a user" in session.error
    assert session.final
    # Mosquitto writes this line when the answer is out already.
    wait_until(lambda: "not authorised" in server.log, what="the refusal in the broker's log")
    assert server.log.count("New client connected") == 0
    assert server.log.count("not authorised") == 1, "it was not asked in another version"


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
def test_a_broker_that_knows_only_the_old_version_is_spoken_to_in_it(
    old_broker: Callable[[dict[str, bytes | None]], OldBroker], refusal: bytes
) -> None:
    server = old_broker({"5": refusal, "3.1.1": b"\x20\x02\x00\x00"})
    session = opened(server.url)
    assert (session.error, session.connection.protocol) == (None, "3.1.1")
    assert server.asked == ["5", "3.1.1"]
    session.close()


def test_a_broker_that_says_nothing_is_asked_in_both_versions(
    old_broker: Callable[[dict[str, bytes | None]], OldBroker],
) -> None:
    server = old_broker({"5": None, "3.1.1": None})
    session = opened(server.url, timeout_s=0.3)
    assert session.error == f"broker {HOST}:{server.port}: no answer within 0 s"
    assert not session.final
    assert 300 <= session.ms < 1000 * PATIENCE_S
    session.close()
    wait_until(lambda: not net_threads(), what="neither attempt is left")


@pytest.mark.parametrize("tls", [False, True], ids=["", "TLS"])
@pytest.mark.parametrize("websockets", [False, True], ids=["TCP", "WebSockets"])
def test_no_packet_waits_for_the_acknowledgement_of_the_one_before(
    mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch, websockets: bool, tls: bool
) -> None:
    broker = mosquitto(websockets=websockets, tls=tls)
    settings = MqttSettings(
        url=(broker.websockets_url if websockets else broker.url,), ca_file=broker.ca_file if tls else None
    )
    opened: list[int] = []

    def look(client: object, data: object, stream: Stream) -> None:
        send_at_once(client, data, stream)
        with socket.socket(fileno=os.dup(stream.fileno())) as below:
            opened.append(below.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr("edged.mqtt.connection.send_at_once", look)
    monkeypatch.setattr("edged.ctl.connect.send_at_once", look)
    session = open_session(brokers(settings), purpose="test", will_topic="edged/dut/state", timeout_s=PATIENCE_S)
    session.close()
    assert session.error is None
    with Client(brokers(settings), timeout_s=PATIENCE_S):
        assert opened == [1, 1], "the device's and edgectl's"
