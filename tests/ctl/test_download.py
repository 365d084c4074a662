"""What a device has made ready, fetched in parts: lost ones are asked for again, refused ones and damage are told."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack
from edged.ctl import download
from edged.ctl.client import Client
from edged.ctl.download import Download
from edged.ctl.errors import RejectedError
from edged.ctl.presence import Presence
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.ctl.device import ScriptedDevice
from tests.waiting import PATIENCE_S

DATA = os.urandom(7000)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Giver(ScriptedDevice):
    """Gives parts of `DATA`. `answers`: what it sends of a part that is asked for the nth time; None: nothing."""

    def __init__(self, port: int, answers: Callable[[int, int, bytes], bytes | None]) -> None:
        super().__init__(port)
        self.asked: list[int] = []
        self._answers = answers

    def _do_bottlenecks_part(self, command: CommandMessage) -> None:
        offset, size = command.args["offset"], command.args["bytes"]
        self.asked.append(offset)
        part = self._answers(offset, self.asked.count(offset), DATA[offset : offset + size])
        if part is not None:
            self._answer("bottlenecks", command, part)
            self._job(command, "succeeded", "bottlenecks_part", report={"offset": offset, "bytes": len(part)})


@pytest.fixture
def client(broker_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    monkeypatch.setattr(download, "RETRY_S", 0.01)
    with Client(brokers(MqttSettings(url=f"mqtt://127.0.0.1:{broker_port}")), timeout_s=PATIENCE_S) as opened:
        yield opened


def fetched(client: Client, size: int = len(DATA), sha256: str = SHA256) -> bytes:
    with Presence(client, "tx2-01") as presence:
        return Download(client, "tx2-01", sha256, size).run(presence)


def test_lost_parts_are_asked_for_again(client: Client, broker_port: int) -> None:
    def sometimes(offset: int, times: int, part: bytes) -> bytes | None:
        return part if times > (2 if offset in (0, 3000) else 0) else None

    with Giver(broker_port, sometimes) as device:
        assert fetched(client) == DATA
    assert device.asked.count(0) >= 3
    assert device.asked.count(3000) >= 3
    assert len({message.id for _, message in device.commands}) == len(device.commands)  # each time under another id


def test_what_is_not_what_was_promised_is_told(client: Client, broker_port: int) -> None:
    damaged = Giver(broker_port, lambda offset, _, part: part if offset else bytes(len(part)))
    with damaged, pytest.raises(RejectedError, match="not what it has promised"):
        fetched(client)


def test_a_part_of_another_size_counts_as_lost(client: Client, broker_port: int) -> None:
    with Giver(broker_port, lambda _, times, part: part if times > 1 else part[1:]) as device:
        assert fetched(client) == DATA
    assert device.asked.count(0) >= 2


def test_a_device_that_refuses_says_why(client: Client, broker_port: int) -> None:
    class Refusing(ScriptedDevice):
        def _on_message(self, client: Any, data: object, message: Any) -> None:
            command = CommandMessage.model_validate_json(message.payload)
            self._answer("ack", command, Ack(id=command.id, status="rejected", error="they are gone"))

    with Refusing(broker_port), pytest.raises(RejectedError, match="tx2-01 sends no bottlenecks: they are gone"):
        fetched(client)


def test_strangers_on_the_topic_are_passed_over(client: Client, broker_port: int) -> None:
    with Giver(broker_port, lambda *_: None) as device:
        stranger = threading.Thread(target=lambda: device.say("bottlenecks/nobody", b"x" * 1000))

        def answers(offset: int, times: int, part: bytes) -> bytes | None:
            if not stranger.ident:
                stranger.start()
            return part

        device._answers = answers
        assert fetched(client) == DATA
        stranger.join(PATIENCE_S)
