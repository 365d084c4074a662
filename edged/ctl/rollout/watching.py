"""Watching devices over a connection for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edged.ctl.client import Client
from edged.ctl.rollout.observation import TOPICS, Watch
from edged.ctl.rollout.verdict import ENOUGH
from edged.terminal.text import note

_FILTERED_EACH = 8
"""More devices than this are picked out of what all say: a broker may allow 50 subscriptions of a connection."""
_TICK_S = 0.5


def longest(seconds: float) -> float:
    """Return how long devices are watched at most, where some tell too little to be judged; at least a minute."""
    return max(3 * seconds, 60.0)


def watching(client: Client, watch: Watch, seconds: float) -> Iterator[float]:
    """Fill a watch, and yield what share of its time is over, about twice a second.

    It lasts longer where a device has told too little to be judged. While the broker is away its clock stands, and
    stderr says so.

    Args:
        client: An open client.
        watch: Of the devices.
        seconds: How long.
    """
    devices = list(watch.devices)
    levels = ["+"] if len(devices) > _FILTERED_EACH else devices
    passed, limit, lost = 0.0, seconds, False
    with client.subscribe(*(f"{level}/{topic}" for level in levels for topic in TOPICS)) as heard:
        at = time.monotonic()
        while passed < limit:
            look_at = at + _TICK_S
            while (message := heard.get(look_at - time.monotonic())) is not None:
                watch.take(message)
                if time.monotonic() > look_at:
                    break
            before, at = at, time.monotonic()
            if client.connected == lost:
                lost = not lost
                now = "lost, trying again; the time does not count" if lost else "is back"
                note("edgectl", f"connection to {client.url} {now}")
            if not lost:
                passed += at - before
            enough = all(len(one.samples) >= ENOUGH or one.online is False for one in watch.devices.values())
            limit = seconds if enough else longest(seconds)
            yield min(1.0, passed / seconds)
