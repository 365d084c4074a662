"""What a fleet costs: messages a second, memory, the broker's processor time, and how soon a command is answered."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.live import Broker
from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from edged.vision.graph import read_graph
from simulation.device import LABELS, shipped_model
from simulation.fleet import Fleet, folder_for_state

PATIENCE_S = 600.0
WHOLE_TO = 1000
"""A whole model goes to fleets of so many at most: it is megabytes for each."""
COMMANDS = 300
"""How many are sent, one after another, to devices by chance."""


def measure(sizes: Sequence[int], *, rate: float, telemetry_s: float, seconds: float) -> dict[str, Any]:
    """Measure fleets of several sizes, one after another, each on a Mosquitto of its own."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rate": rate,
        "telemetry_s": telemetry_s,
        "seconds": seconds,
        "fleets": [_one(size, rate, telemetry_s, seconds) for size in sizes],
    }


def _one(size: int, rate: float, telemetry_s: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder_for_state()) as name:
        folder = Path(name)
        broker = Broker(folder)
        try:
            begin = time.monotonic()
            with Fleet(size, [f"mqtt://127.0.0.1:{broker.port}"], folder, rate=rate, telemetry_s=telemetry_s) as fleet:
                _wait(fleet, size)
                connected_s = time.monotonic() - begin
                return {"devices": size, "connected_s": round(connected_s, 1), **_watch(fleet, broker, seconds)}
        finally:
            broker.close()


def _wait(fleet: Fleet, size: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while fleet.told().connected < size:
        if time.monotonic() > end or not fleet.alive:
            sys.exit(f"tools/fleet: {fleet.told().connected} of {size} devices connected; gave up")
        time.sleep(0.1)


class Counter:
    """A subscriber that counts what the whole fleet publishes."""

    def __init__(self, port: int) -> None:
        self.results: set[tuple[str, int]] = set()
        self.messages = self.bytes = 0
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("edged/#", qos=1)
        self._client.loop_start()
        self._ready.wait(PATIENCE_S)

    def _hear(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.messages += 1
        self.bytes += len(message.payload) + len(message.topic)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def _watch(fleet: Fleet, broker: Broker, seconds: float) -> dict[str, Any]:
    size = len(fleet.names)
    mosquitto = broker.process
    counter = Counter(broker.port)
    time.sleep(2)  # retained messages are over
    before, cpu, messages, told = time.monotonic(), mosquitto.cpu_times(), counter.messages, fleet.told()
    time.sleep(seconds)
    took = time.monotonic() - before
    now, after = mosquitto.cpu_times(), fleet.told()
    steady = {
        "messages_per_s": round((counter.messages - messages) / took, 1),
        "results_per_s": round((after.results - told.results) / took, 1),
        "broker_cpu": round((now.user + now.system - cpu.user - cpu.system) / took, 4),
        "broker_memory_mb": round(mosquitto.memory_info().rss / 1e6, 1),
        "devices_cpu": round((after.cpu_s - told.cpu_s) / took, 4),
        "memory_kb_per_device": round(after.memory_bytes / size / 1e3),
        "late_s": after.late_s,
        "backlog": after.backlog,
    }
    counter.close()
    return {
        **steady,
        **_status(broker.port, size),
        **_commands(fleet, broker.port),
        "pushes": _pushes(broker.port, size),
    }


def _status(port: int, size: int) -> dict[str, Any]:
    """Time `edgectl --device all status`, as its user waits for it."""
    times, answered = [], []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "edged.ctl", "--broker", f"mqtt://127.0.0.1:{port}", "--device", "all", "status",
             "--json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        times.append(time.monotonic() - begin)
        answered.append(done.stdout.count('"answered": true') + done.stdout.count('"answered":true'))
    return {"status_s": round(statistics.median(times), 2), "status_answered": min(answered), "status_of": size}


def _commands(fleet: Fleet, port: int) -> dict[str, Any]:
    """Time commands to devices by chance, from sending one to its ack."""
    dice = random.Random(0)
    times = []
    settings = MqttSettings(url=(f"mqtt://127.0.0.1:{port}",))
    with Client(brokers(settings), timeout_s=60.0) as client:
        for _ in range(COMMANDS):
            device = dice.choice(fleet.names)
            begin = time.monotonic()
            ack = client.command(device, "set", {"top": 3})
            times.append(time.monotonic() - begin)
            client.forget(ack.id)
    times.sort()
    return {
        "ack_p50_ms": round(1e3 * times[len(times) // 2], 1),
        "ack_p99_ms": round(1e3 * times[int(len(times) * 0.99)], 1),
        "ack_max_ms": round(1e3 * times[-1], 1),
    }


def _pushes(port: int, size: int) -> list[dict[str, Any]]:
    """Push a new head to all, as a patch and, to small fleets, as a whole model, while they go on publishing."""
    graph = read_graph(shipped_model())
    weights = np.random.default_rng(0).normal(0, 0.05, (len(LABELS), graph.head.features)).astype(np.float32)
    model = graph.replace_head(weights, np.zeros(len(LABELS), np.float32), (-10.0, 10.0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "head.tflite").write_bytes(model)
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
        return [_push(port, size, folder, whole=whole) for whole in (False, True) if not whole or size <= WHOLE_TO]


def _push(port: int, size: int, folder: Path, *, whole: bool) -> dict[str, Any]:
    """Time `edgectl --device all models push`, as its user waits for it."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edged.ctl", "--broker", f"mqtt://127.0.0.1:{port}", "--device", "all", "--json",
         "models", "push", str(folder / "head.tflite"), "--labels", str(folder / "labels.txt"), "--name", "flowers",
         *(["--whole"] if whole else [])],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
    )  # fmt: skip
    took = time.monotonic() - begin
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        "whole": whole,
        "seconds": round(took, 1),
        "devices": size,
        "installed": sum(one["status"] == "succeeded" and one["patch"] != whole for one in told),
        "bytes_each": max((one["sent_bytes"] for one in told), default=0),
        "errors": done.stderr.splitlines()[:3],
    }


def pushes_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of README on sending a new head."""
    yield "| devices | sent to each | sent as | all have it after |"
    yield "|---|---|---|---|"
    for fleet in numbers["fleets"]:
        for one in fleet["pushes"]:
            how = "the whole model" if one["whole"] else "what differs from the shipped network"
            done = "" if one["installed"] == one["devices"] else f" ({one['installed']:,} of them)"
            yield f"| {one['devices']:,} | {one['bytes_each'] / 1e3:,.1f} kB | {how} | {one['seconds']:.1f} s{done} |"


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of README."""
    yield (
        "| devices | messages a second | Mosquitto: of a core, memory | a device: memory, of a core | command → ack, "
        "p50, p99 | `edgectl --device all status` |"
    )
    yield "|---|---|---|---|---|---|"
    for one in numbers["fleets"]:
        yield (
            f"| {one['devices']:,} | {one['messages_per_s']:,.0f} | {one['broker_cpu']:.1%}, "
            f"{one['broker_memory_mb']:.0f} MB | {one['memory_kb_per_device'] / 1e3:.2f} MB, "
            f"{one['devices_cpu'] / one['devices']:.2%} | {one['ack_p50_ms']:.0f} ms, {one['ack_p99_ms']:.0f} ms | "
            f"{one['status_s']:.1f} s, {one['status_answered']:,} of {one['status_of']:,} answered |"
        )
    yield ""
    yield (
        f"Simulated devices (edged's own link, ledger, outbox and contract; camera and network are a script) with "
        f"{numbers['rate']:g} result a second each and telemetry every {numbers['telemetry_s']:g} s, all of them, "
        f"Mosquitto and who measures on {numbers['machine']}; {numbers['seconds']:g} s each."
    )
