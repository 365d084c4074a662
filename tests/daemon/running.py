"""`edged run` as it runs for real: any configuration, its own process, and a subscriber that remembers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.waiting import PATIENCE_S, wait_until

ECHO_S = 5.0
"""A message of one's own that is not back by then went with its connection."""
PHOTOS = Path(__file__).parents[2] / "edged" / "demo" / "photos"


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change edged's configuration."""
    private = ("EDGED_", "EDGECTL_")
    ours = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "STATE_DIRECTORY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(private) and key not in ours}
    return {**kept, **more}


class Running:
    """One `edged run`.

    Args:
        folder: Gets configuration, state and log.
        url: The broker's.
        device: `device.id`.
        cameras: TOML of `[cameras.…]` tables.
        more: More tables.
        mqtt: More keys of `[mqtt]`.
        telemetry: More keys of `[telemetry]`.
        state_dir: Another place for the state.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        device: str = "dut",
        cameras: str = '[cameras.main]\nsource = "pattern"\nfps = 10',
        more: str = "",
        mqtt: str = "",
        telemetry: str = "",
        state_dir: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state_dir = state_dir or folder / "state"
        self.config = folder / "edged.toml"
        self.config.write_text(
            f'[device]\nid = "{device}"\n[storage]\nstate_dir = "{self.state_dir}"\n[model]\nthreads = 1\n'
            f"[telemetry]\ninterval_s = 0.3\n{telemetry}\n[retrain]\nkeep_frames = false\n"
            f'[mqtt]\nurl = "{url}"\n{mqtt}\n'
            f"{cameras}\n{more}\n"
        )
        self._log = folder / "edged.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self, *prefix: str, **variables: str) -> Running:
        """Start; returns at once. `prefix`: a command that starts it."""
        command = [*prefix, sys.executable, "-m", "edged", "run", "--config", str(self.config)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**variables)
            )
        return self

    def wait_for_log(self, text: str, *, count: int = 1) -> None:
        def logged() -> bool:
            found = self.log.count(text) >= count
            assert found or self.running, self.log
            return found

        wait_until(logged, what=f"{text!r} in the log")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; return the exit code. Never is there a traceback."""
        code = self.ended()
        assert "Traceback" not in self.log
        return code

    def ended(self) -> int:
        """Wait for the end of one that meets an internal error; return the exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


class Watcher:
    """Subscribes to one device's topics; QoS 0, which Mosquitto hands out before it acknowledges to the sender."""

    def __init__(self, port: int, device: str = "dut", *, base: str | None = None) -> None:
        self._base = f"edged/{device}/" if base is None else base
        self._seen: list[tuple[str, bytes, bool]] = []
        self._state = b""
        self._commands = 0
        self._echoes = 0
        self.ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{self._base}#")
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self.ready.wait(PATIENCE_S)

    def _on_disconnect(self, *_: object) -> None:
        self.ready.clear()
        self._state = b""  # a broker that starts anew may not know the device yet, which was online at the last one

    def _on_message(self, _: paho.Client, __: object, message: paho.MQTTMessage) -> None:
        if message.topic == f"{self._base}state":
            self._state = message.payload
        self._seen.append((message.topic, message.payload, message.retain))

    def of(self, topic: str) -> list[bytes]:
        return [payload for at, payload, _ in list(self._seen) if at == self._base + topic]

    def decoded(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.of(topic)]

    def wait(self, topic: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many JSON messages on a topic."""
        wait_until(lambda: len(self.of(topic)) >= count, what=f"{count} × {topic}")
        return self.decoded(topic)

    def wait_for_state(self, *states: str) -> None:
        """Wait until these are the newest ones, one after another.

        `offline` may come twice: a broker that is slow says it for the attempt to connect that the device gave up, too.
        """

        def newest() -> list[str]:
            return [state.decode() for state, _ in groupby(self.of("state"))][-len(states) :]

        wait_until(lambda: newest() == list(states), what=f"{states}")

    def forget(self) -> None:
        """Forget what has arrived so far."""
        self._seen.clear()

    def retained(self) -> dict[str, bytes]:
        return {topic.removeprefix(self._base): payload for topic, payload, retain in list(self._seen) if retain}

    def retained_after(self, topic: str) -> dict[str, bytes]:
        """Wait for what is retained on a topic; return all that is, which a broker hands out together."""
        wait_until(lambda: topic in self.retained(), what=f"{topic}, retained")
        self.catch_up()
        return self.retained()

    @classmethod
    def once(cls, port: int, *, base: str) -> dict[str, bytes]:
        """Return what is retained below `base` at this moment."""
        one = cls(port, base=base)
        one.catch_up()
        one.close()
        return one.retained()

    def say(self, topic: str, payload: str | bytes) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(self._base + topic, payload, qos=1).wait_for_publish(PATIENCE_S)

    def catch_up(self) -> None:
        """Wait until everything is here that the broker had to hand out when this was called."""
        self._echoes += 1
        topic, mark = f"echo/{id(self)}", str(self._echoes).encode()
        sent = -ECHO_S

        def back() -> bool:
            nonlocal sent
            if time.monotonic() - sent > ECHO_S and self.ready.is_set():  # again: a connection may end with it
                sent = time.monotonic()
                self._client.publish(self._base + topic, mark)
            return mark in self.of(topic)

        wait_until(back, what="an echo")

    def starting(self, topic: str) -> list[bytes]:
        """Everything on topics that begin so."""
        return [payload for at, payload, _ in list(self._seen) if at.startswith(self._base + topic)]

    def send(self, command: str, /, **args: Any) -> str:
        """Send a command to a device that is online, else it would be lost; return its id.

        A result is no sign of that: it may be the last one of a process that has ended meanwhile.
        """
        self.catch_up()
        wait_until(lambda: self._state == b"online", what="the device online")
        self._commands += 1
        id_ = f"c{self._commands}"
        payload = json.dumps({"id": id_, "args": args})
        self._client.publish(f"{self._base}cmd/{command}", payload, qos=1).wait_for_publish(PATIENCE_S)
        return id_

    def publish(self, command: str, /, *, id_: str, **args: Any) -> paho.MQTTMessageInfo:
        """Send a command under an id, whether the device hears it or not; return what tells that the broker has it."""
        return self._client.publish(f"{self._base}cmd/{command}", json.dumps({"id": id_, "args": args}), qos=1)

    def ack(self, command: str, /, **args: Any) -> dict[str, Any]:
        """Send a command that is done with its ack; return the ack."""
        return self.wait(f"ack/{self.send(command, **args)}")[0]

    def command(self, name: str, /, **args: Any) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
        """Send a command; return its ack, the final state of its job (None: rejected), and its id."""
        id_ = self.send(name, **args)
        ack = self.wait(f"ack/{id_}")[0]
        if ack["status"] == "rejected":
            return ack, None, id_
        final = ("succeeded", "failed", "rejected", "cancelled")
        wait_until(lambda: any(job["status"] in final for job in self.decoded(f"job/{id_}")), what=f"job of {name}")
        return ack, self.decoded(f"job/{id_}")[-1], id_

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes


class Systemd:
    """The other end of $NOTIFY_SOCKET, always listening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._told: list[str] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while datagram := self._socket.recv(4096):
            self._told += datagram.decode().splitlines()

    def told(self) -> list[str]:
        """Everything that was said so far, line by line."""
        return list(self._told)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path))
        self._thread.join(PATIENCE_S)
        self._socket.close()
