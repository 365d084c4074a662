"""README's access list, in a real Mosquitto: who may command a device, and who may speak for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import REPOSITORY
from tests.mosquitto import HOST, Mosquitto
from tests.waiting import wait_until

USERS = ("tx2-01", "tx2-02", "operator", "dashboard")


class User:
    """A client that is logged in, subscribed to all that it may read."""

    def __init__(self, broker: Mosquitto, name: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        ready: list[bool] = []
        self._name, self._port = name, broker.port
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(name, name)
        self._client.on_message = lambda _c, _d, message: self.heard.append((message.topic, message.payload))
        self._client.on_subscribe = lambda *_: ready.append(True)
        self._client.on_connect = lambda client, *_: client.subscribe("edged/#", 1)
        self._client.connect(HOST, broker.port)
        self._client.loop_start()
        wait_until(lambda: ready, what=f"{name}'s subscription")

    def say(self, topic: str, payload: str) -> None:
        """Publish over a connection of its own: Mosquitto 2.0.11 ends one on which it denies a message of QoS 1."""
        over: list[bool] = []
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(self._name, self._name)
        client.on_connect = lambda client, *_: client.publish(topic, payload, qos=1)
        client.on_publish = lambda *_: over.append(True)
        client.on_disconnect = lambda *_: over.append(True)
        client.connect(HOST, self._port)
        while not over:
            client.loop(0.1)
        client.disconnect()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def users(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Iterator[dict[str, User]]:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- acl -->\n(.*?)<!-- end of acl -->", text, re.DOTALL)
    assert found is not None
    mine = "\n".join(line.strip() for line in found.group(1).splitlines())
    other = mine.partition("user operator")[0].replace("tx2-01", "tx2-02")
    acl = tmp_path / "acl"
    acl.write_text(f"{mine}\n{other}\n")
    acl.chmod(0o600)
    passwords = {name: name for name in USERS}
    broker = mosquitto(users=passwords, allow_anonymous=False, extra=f"acl_file {acl}")
    logged_in = {name: User(broker, name) for name in USERS}
    yield logged_in
    for one in logged_in.values():
        one.close()


def test_who_hears_whom(users: dict[str, User]) -> None:
    for name, user in users.items():
        for topic in ("cmd/status", "result/main", "state", "ack/a1"):
            user.say(f"edged/tx2-01/{topic}", name)
    users["operator"].say("edged/all/cmd/status", "all")
    users["tx2-01"].say("edged/tx2-01/result/main", "end")
    users["operator"].say("edged/tx2-01/cmd/status", "end")

    def last(name: str, payload: bytes) -> None:
        wait_until(lambda: payload in [heard for _, heard in users[name].heard], what=f"what {name} hears")

    last("tx2-01", b"end")
    last("dashboard", b"end")
    last("operator", b"end")
    assert users["tx2-01"].heard == [
        ("edged/tx2-01/cmd/status", b"operator"),
        ("edged/all/cmd/status", b"all"),
        ("edged/tx2-01/cmd/status", b"end"),
    ]
    assert users["tx2-02"].heard == [("edged/all/cmd/status", b"all")]
    assert users["dashboard"].heard == [
        ("edged/tx2-01/result/main", b"tx2-01"),
        ("edged/tx2-01/state", b"tx2-01"),
        ("edged/tx2-01/result/main", b"end"),
    ]
    assert {heard for topic, heard in users["operator"].heard if "/cmd/" not in topic} == {b"tx2-01", b"end"}
