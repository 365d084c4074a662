"""A subscriber that remembers, a link that is always stopped, and a gate in front of the broker."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edged.contract.commands import COMMANDS, Args, Command
from edged.mqtt.ledger import Ledger
from edged.mqtt.link import Link
from edged.mqtt.outbox import Outbox
from edged.mqtt.retry import Retry
from edged.settings import MqttSettings
from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until

DEVICE = "d1"


def wait_for(condition: Callable[[], Any], what: str) -> None:
    wait_until(condition, what=what)


class Watcher:
    """A client that subscribes to everything; with QoS 0 Mosquitto hands it out before it acknowledges."""

    def __init__(self, port: int, prepare: Callable[[Client], object] = lambda _: None, qos: int = 0) -> None:
        self.seen: list[tuple[str, bytes, bool]] = []
        self.duplicates: set[int] = set()
        """Places in `seen` of what had the flag DUP: the broker had handed it out before, or believed so."""
        self.ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(1, 1)
        prepare(self.client)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=qos)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_disconnect = lambda *_: self.ready.clear()
        self.client.on_message = lambda _, __, message: self._take(message)
        self.client.connect_async(HOST, port)
        self.client.loop_start()
        assert self.ready.wait(PATIENCE_S)

    def of(self, topic: str) -> list[bytes]:
        return [payload for at, payload, _ in list(self.seen) if at == f"edged/{DEVICE}/{topic}"]

    def once(self, topic: str) -> list[bytes]:
        """What `of` says without duplicates, by the flag DUP."""
        kept = [one for place, one in enumerate(list(self.seen)) if place not in self.duplicates]
        return [payload for at, payload, _ in kept if at == f"edged/{DEVICE}/{topic}"]

    def command(self, name: str, payload: bytes | dict[str, Any], *, retain: bool = False, to: str = DEVICE) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.client.publish(f"edged/{to}/cmd/{name}", body, qos=1, retain=retain)

    def wait_for_online(self) -> None:
        """Wait until the device reads commands: it subscribes before it says `online`, and `connected` is earlier."""
        wait_for(lambda: self.of("state")[-1:] == [b"online"], "online")

    def ack(self, id_: str, count: int = 1) -> dict[str, Any]:
        wait_for(lambda: len(self.of(f"ack/{id_}")) >= count, f"ack/{id_}")
        answer: dict[str, Any] = json.loads(self.of(f"ack/{id_}")[-1])
        return answer

    def _take(self, message: MQTTMessage) -> None:
        if message.dup:
            self.duplicates.add(len(self.seen))
        self.seen.append((message.topic, message.payload, message.retain))

    def close(self) -> None:
        """Leave the broker; a test may have done so before the fixture does."""
        if not hasattr(self, "client"):
            return
        self.client.disconnect()
        self.client.loop_stop()
        del self.client  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes


class Patient(Retry):
    """Gives up no attempt because this machine is slow, and leaves whoever comes with our device id alone.

    A broker that took the device in just when it was given up says `offline` for it, and is spoken to in 3.1.1 next.
    """

    def __init__(self) -> None:
        super().__init__(device=DEVICE, shortest_s=0.05, longest_s=0.2, rival_s=PATIENCE_S)

    def patience_s(self, host: str) -> float:
        return PATIENCE_S


class Gate:
    """A TCP relay: the broker stays as it is while the device's way to it is cut, silent, or open."""

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self.silent = False
        self._to = to
        self._open = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def open(self) -> None:
        self._open = True

    def cut(self) -> None:
        with self._lock:  # whoever is let in meanwhile is dropped, too
            self._open = False
            self._drop_all()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _drop_all(self) -> None:
        for pair in self._pairs:
            for side in pair:
                side.close()
        self._pairs.clear()

    def _run(self) -> None:
        with socket.create_server((HOST, self.port)) as server:
            server.settimeout(0.02)
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    near, _ = server.accept()
                    with self._lock:
                        try:
                            if not self._open:
                                raise ConnectionRefusedError
                            self._pairs.append((near, socket.create_connection((HOST, self._to))))
                        except OSError:
                            near.close()
                with self._lock:
                    self._relay()
            self._drop_all()

    def _relay(self) -> None:
        for near, far in list(self._pairs):
            for source, sink in ((near, far), (far, near)):
                while not self.silent and source.fileno() >= 0 and select.select([source], [], [], 0)[0]:
                    try:
                        data = source.recv(65536)
                        sink.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        near.close()
                        far.close()
                        self._pairs.remove((near, far))
                        break


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def make(port: int, **options: Any) -> Watcher:
        watchers.append(Watcher(port, **options))
        return watchers[-1]

    yield make
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def gate() -> Iterator[Callable[[int], Gate]]:
    gates: list[Gate] = []

    def make(port: int) -> Gate:
        gates.append(Gate(port))
        return gates[-1]

    yield make
    for one in gates:
        one.close()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Callable[..., Link]]:
    """A factory of started links; `state` names the folder, so that a second one may take up the first one's."""
    links: list[Link] = []

    def make(
        url: str,
        *,
        on_command: Callable[[Command[Args]], None] = lambda _: None,
        state: str = "state",
        client_id: str | None = None,
        registry: Mapping[str, type[Args]] = COMMANDS,
        retry: Retry | None = None,
        **settings: Any,
    ) -> Link:
        made = Link(
            settings=MqttSettings(url=url, **settings),
            device=DEVICE,
            outbox=Outbox(tmp_path / state / "outbox.sqlite", 64),
            ledger=Ledger(tmp_path / state / "commands.sqlite"),
            on_command=on_command,
            client_id=client_id,
            registry=registry,
            retry=retry or Patient(),
        )
        made.start()
        links.append(made)
        return made

    yield make
    for made in links:
        made.stop(1)
