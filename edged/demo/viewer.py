"""A subscriber that prints results and telemetry as a person would like to read them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.text import Text

from edged.contract.messages import UNKNOWN
from edged.plural import counted

_BAR = 12
_WIDE = 72
"""Columns from which on a result has its time, its bar and its latency."""


class Viewer:
    """Subscribes to one device and prints a line per message.

    Args:
        port: Of the broker on 127.0.0.1.
        device: Whose topics.
        console: Where lines go.
    """

    def __init__(self, port: int, device: str, console: Console | None = None) -> None:
        self._port = port
        self._device = device
        self._console = console or Console(highlight=False)
        self._lock = threading.Lock()
        self._results = 0
        self._quiet = self._ended = False
        self._client = client = Client(CallbackAPIVersion.VERSION2, "edged-demo-viewer", protocol=MQTTv311)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes

    def print_heading(self, photos: int) -> None:
        """Say what is about to be seen."""
        self._console.print(
            f"[bold]edged demo[/]: {photos} photos, a drawing → MobileNetV2 → MQTT on port {self._port} → here"
        )
        self._console.print(f"[dim]Look yourself: mosquitto_sub -p {self._port} -v -t '#'   (Ctrl-C ends)[/]\n")

    def print_step(self, text: str) -> None:
        """Say what happens next."""
        self._console.print(f"\n[bold]{text}[/]")

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Count messages meanwhile, but leave the terminal to somebody else."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def print_end(self) -> int:
        """Say what was seen; return how many results."""
        edged = Path(sys.executable).with_name("edged")
        edged = edged.relative_to(Path.cwd()) if edged.is_relative_to(Path.cwd()) else edged
        with self._lock:
            self._ended = True
            self._console.print(
                f"\n{counted(self._results, 'result')} arrived. "
                f"Your own camera and broker: {edged} doctor, {edged} run",
                soft_wrap=True,  # a path to copy
            )
            return self._results

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe(f"edged/{self._device}/#", qos=1)

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        kind = message.topic.split("/")[2]
        with self._lock:
            if self._ended:
                return
            if self._quiet:
                self._results += kind == "result"
            elif kind == "state":
                self._console.print(f"[dim]{message.topic}[/]  {message.payload.decode()}")
            elif kind == "model":
                model = json.loads(message.payload)
                accuracy = f", {model['accuracy']:.1%} accuracy" if "accuracy" in model else ""
                self._console.print(
                    f"[dim]{message.topic}[/]  {model['name']} {model['id']}, {len(model['labels'])} labels{accuracy}"
                )
            elif kind == "result":
                self._results += 1
                self._console.print(self._result(json.loads(message.payload), self._console.width))
            elif kind == "telemetry":
                self._console.print(Text(f"  {telemetry_line(json.loads(message.payload))}", style="cyan"))

    @staticmethod
    def _result(result: dict[str, Any], width: int) -> Text:
        filled = round(result["score"] * _BAR)
        label = result["label"].split(",")[0]
        if label == UNKNOWN:
            label = f"{UNKNOWN}, like {result['top'][0]['label'].split(',')[0]}"
        wide = width >= _WIDE
        line = Text(f"  {result['ts'][11:23]}  " if wide else "  ")
        line.append(f"{label:<24.24}", style="bold")
        if wide:
            line.append("█" * filled, style="green").append("░" * (_BAR - filled), style="dim")
        line.append(f" {result['score']:4.0%}")
        if wide:
            line.append(f"   {result['latency_ms']['total']:5.1f} ms", style="dim")
        return line


def telemetry_line(telemetry: dict[str, Any]) -> str:
    """Return one line with what the device could read; what is absent is left out."""
    parts = [f"{telemetry['fps']:.1f} frames/s"]
    if latency := telemetry.get("latency_ms"):
        parts.append(f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms")
    parts += [f"{name} {value:.0%}" for name, value in telemetry.get("load", {}).items()]
    parts += [f"{name} {value:.0f} °C" for name, value in list(telemetry.get("temp_c", {}).items())[:3]]
    parts += [f"{name} {value / 1000:.1f} W" for name, value in list(telemetry.get("power_mw", {}).items())[:3]]
    return "telemetry  " + " · ".join(parts)
