"""A real daemon that is sent what would harm it, and what is seen of it meanwhile: gaps, restarts, memory, its log."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

FPS = 20
"""Frames of the test pattern a second."""
PATIENCE_S = 300.0
"""What an answer may take on a busy machine; longer is a device that is lost."""
FINAL = ("succeeded", "failed", "rejected", "cancelled")
_BASE = "edged/fuzzed/"


class LostDeviceError(Exception):
    """The daemon has ended, or has not answered for a long time."""


class FuzzedDevice:
    """`edged run` on a test pattern, and a client that sends it anything.

    Args:
        folder: Gets configuration, log and state.
        port: Of the broker.
    """

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "edged.toml"
        configuration.write_text(
            f'[device]\nid = "fuzzed"\n[cameras.main]\nsource = "pattern"\nfps = {FPS}\n[model]\nthreads = 1\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n[storage]\nstate_dir = "{folder / "state"}"\n'
            "[retrain]\nkeep_frames = false\n[telemetry]\ninterval_s = 5\n"
        )
        self._log = folder / "edged.log"
        self._numbers = itertools.count()
        self._answers: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._arrived_s = self._captured_s = 0.0
        self._ended = threading.Event()
        self.results = 0
        self.acks = {"accepted": 0, "rejected": 0}
        self.boots: list[str] = []
        self.doing = "start"
        self.gaps: list[tuple[float, float, str]] = []
        """(by arrival, by `ts`, what was being done) of pauses between results over half a second."""
        self.longest_s = {"arrival": 0.0, "ts": 0.0}
        self.stall_s = 0.0
        """How much too late this process itself was woken up, at most: what the machine adds to any gap."""
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        for topic in ("ack/+", "job/+", "info", "result/+"):
            self._client.subscribe(_BASE + topic, qos=1)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edged", "run", "--config", configuration],
                stdout=log, stderr=log, env=dict(os.environ),
            )  # fmt: skip
        self._wait(lambda: self.results > FPS and self.boots, "the first results")
        self.memory_start_mb = self.memory_mb()
        self.memory_peak_mb = self._memory_mb = self.memory_start_mb
        threading.Thread(target=self._watch_the_clock, daemon=True).start()

    # -- sending -------------------------------------------------------------------------------------------------------

    def publish(self, command: str, payload: bytes, *, retain: bool = False) -> None:
        """Send any bytes as a command."""
        self._client.publish(f"{_BASE}cmd/{command}", payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def send(self, command: str, /, **args: Any) -> str:
        """Send a command; return its id."""
        id_ = f"f{next(self._numbers)}"
        self.publish(command, json.dumps({"id": id_, "args": args}).encode())
        return id_

    def ack(self, command: str, /, **args: Any) -> dict[str, Any]:
        """Send a command; return its ack."""
        return self._answer(f"ack/{self.send(command, **args)}")

    def job(self, command: str, /, **args: Any) -> dict[str, Any]:
        """Send a command; return the end of its job, or the ack that rejects it."""
        id_ = self.send(command, **args)
        ack = self._answer(f"ack/{id_}")
        return ack if ack["status"] == "rejected" else self._answer(f"job/{id_}")

    def wait_for_acks(self, count: int) -> None:
        """Wait until there were so many acks in all."""
        self._wait(lambda: sum(self.acks.values()) >= count, f"{count} acks")

    # -- seeing --------------------------------------------------------------------------------------------------------

    def memory_mb(self) -> float:
        """Resident memory of the daemon, 10^6 bytes."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    def seen(self) -> dict[str, Any]:
        """Return what was seen so far."""
        log = self._log.read_text(encoding="utf-8", errors="replace")
        longest = sorted(self.gaps, key=lambda gap: max(gap[:2]), reverse=True)[:50]
        return {
            "results": self.results,
            "gap_arrival_s": round(self.longest_s["arrival"], 3),
            "gap_ts_s": round(self.longest_s["ts"], 3),
            "gaps": [[round(one, 2), round(other, 2), what[:200]] for one, other, what in longest],
            "stall_s": round(self.stall_s, 3),
            "restarts": len(set(self.boots)) - 1,
            "tracebacks": log.count("Traceback"),
            "memory_mb": [round(self.memory_start_mb), round(self._memory_mb), round(self.memory_peak_mb)],
        }

    def close(self) -> int:
        """End the daemon; return its exit code."""
        self._ended.set()
        self._client.disconnect()
        self._client.loop_stop()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _hear(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        topic = message.topic.removeprefix(_BASE)
        if message.retain or not message.payload:
            return
        told = json.loads(message.payload)
        if topic.startswith("result/"):
            self._result(told)
            return
        with self._changed:
            if topic == "info":
                self.boots.append(told["boot"])
            elif topic.startswith("ack/"):
                self.acks[told["status"]] += 1
                self._answers[topic] = told
            elif told["status"] in FINAL:
                self._answers[topic] = told
            while len(self._answers) > 1000:
                del self._answers[next(iter(self._answers))]
            self._changed.notify_all()

    def _result(self, told: dict[str, Any]) -> None:
        arrived, captured = time.monotonic(), datetime.fromisoformat(told["ts"].replace("Z", "+00:00")).timestamp()
        self.results += 1
        self.boots.append(told["boot"]) if told["boot"] not in self.boots else None
        if self._arrived_s and self.results > FPS:
            gap, by_ts = arrived - self._arrived_s, captured - self._captured_s
            self.longest_s["arrival"] = max(self.longest_s["arrival"], gap)
            self.longest_s["ts"] = max(self.longest_s["ts"], by_ts)
            if max(gap, by_ts) > 0.5:
                self.gaps.append((gap, by_ts, self.doing))
        self._arrived_s, self._captured_s = arrived, captured

    def _answer(self, topic: str) -> dict[str, Any]:
        self._wait(lambda: topic in self._answers, topic)
        return self._answers.pop(topic)

    def _wait(self, done: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        with self._changed:
            while not done():
                if self._process.poll() is not None:
                    raise LostDeviceError(f"the daemon has ended ({self._process.returncode}) during: {self.doing}")
                if time.monotonic() > end:
                    raise LostDeviceError(f"{what}: nothing for {PATIENCE_S:g} s, during: {self.doing}")
                self._changed.wait(0.1)

    def _watch_the_clock(self) -> None:
        while not self._ended.is_set():
            asked = time.monotonic() + 0.05
            time.sleep(0.05)
            self.stall_s = max(self.stall_s, time.monotonic() - asked)
            try:
                self._memory_mb = self.memory_mb()
                self.memory_peak_mb = max(self.memory_peak_mb, self._memory_mb)
            except psutil.Error:
                return
