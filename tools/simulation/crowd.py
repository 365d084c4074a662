"""Many simulated devices in a process of their own: `python -m simulation.crowd`, told by one line of JSON."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from edged.process import discard_output
from edged.settings import MqttSettings
from simulation.device import SimulatedDevice

TOLD_S = 1.0
"""How often a crowd tells on stdout how it is, a line of JSON."""
TICK_S = 0.1
"""How often it looks which devices have something to publish. A processor that was woken for one frame alone takes
several times as long for it as for the second of two: devices that share one would keep it busy with that, as real ones
do not."""


def run(request: dict[str, Any]) -> None:
    """Run devices until SIGTERM or the end of stdin, which comes when whoever started this has gone.

    Args:
        request: `names`; `url`, a list; `folder` for their state; `rate` of results a second; `telemetry_s`.
    """
    over, orphaned = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    threading.Thread(target=_outlive_nobody, args=(over, orphaned), daemon=True).start()
    threading.stack_size(256 * 1024)  # three threads a device
    settings = MqttSettings(url=tuple(request["url"]))
    begin = psutil.Process().memory_info().rss
    devices = [SimulatedDevice(name, settings, Path(request["folder"]) / name) for name in request["names"]]
    for device in devices:
        device.start()
        over.wait(0.02)  # as if they were not all switched on at once
    _publish(devices, request["rate"], request["telemetry_s"], begin, over)
    stopping = [threading.Thread(target=device.stop) for device in devices]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()
    if orphaned.is_set():  # nobody else is left who would
        for name in request["names"]:
            shutil.rmtree(Path(request["folder"]) / name, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process still has devices there
            Path(request["folder"]).rmdir()


def _outlive_nobody(over: threading.Event, orphaned: threading.Event) -> None:
    """Set both at the end of stdin: not `sys.stdin`, whose lock no thread may hold when the interpreter ends."""
    while os.read(0, 1024):
        pass
    orphaned.set()
    over.set()


def _tell(told: dict[str, Any], over: threading.Event) -> None:
    try:
        print(json.dumps(told), flush=True)
    except BrokenPipeError:  # nobody is there any more
        discard_output()
        over.set()


def _publish(
    devices: list[SimulatedDevice], rate: float, telemetry_s: float, begin: int, over: threading.Event
) -> None:
    """Publish what is due, device by device, until it is over."""
    dice = random.Random(os.getpid())
    now = time.monotonic()
    due: list[tuple[float, int, str]] = []
    for at, device in enumerate(devices):
        device.fps = rate
        heapq.heappush(due, (now + dice.random() / rate, at, "frame"))
        heapq.heappush(due, (now + dice.random() * telemetry_s, at, "telemetry"))
    results = 0
    longest_s = 0.0
    told_at = now
    while not over.is_set():
        when, at, what = due[0]
        now = time.monotonic()
        if when > now:
            over.wait(TICK_S)
        else:
            longest_s = max(longest_s, now - when)
            if what == "frame":
                devices[at].frame()
                results += 1
                heapq.heapreplace(due, (max(when + 1 / max(devices[at].fps, 0.01), now - 1), at, what))
            else:
                devices[at].measure()
                heapq.heapreplace(due, (max(when + telemetry_s, now - 1), at, what))
        if now - told_at >= TOLD_S:
            told_at = now
            process = psutil.Process()
            times = process.cpu_times()
            told = {
                "connected": sum(device.connected for device in devices),
                "backlog": sum(device.backlog for device in devices),
                "results": results,
                "late_s": round(longest_s, 3),
                "cpu_s": times.user + times.system,
                "memory_bytes": process.memory_info().rss - begin,
            }
            longest_s = 0.0
            _tell(told, over)


if __name__ == "__main__":
    run(json.loads(sys.stdin.readline()))
