"""What people read of a roll-out: names, times, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edged.ctl.rollout.observation import Watch
from edged.ctl.rollout.verdict import Measured, Spread

NAMED = 12
"""Devices that are named; the others are counted."""


def reason(device: str, error: Exception) -> str:
    """Return what an error says, without the device's name before it."""
    return str(error).removeprefix(f"{device}: ").removeprefix(f"{device} ")


def named(devices: Sequence[str]) -> str:
    """Name devices, the first of many."""
    more = f" and {len(devices) - NAMED} more" if len(devices) > NAMED else ""
    return ", ".join(devices[:NAMED]) + more


def span(seconds: float) -> str:
    """Write a time."""
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def medians(measured: Measured) -> str:
    """Write the medians."""

    def part(spread: Spread | None, write: Callable[[float], str]) -> Iterable[str]:
        return [] if spread is None else [write(spread.median)]

    parts = [
        *part(measured.p95_ms, lambda value: f"p95 {value:.1f} ms"),
        *part(measured.fps, lambda value: f"{value:.1f} frames/s"),
        *part(measured.familiarity, lambda value: f"familiarity {value:.0%}"),
        *part(measured.unknown, lambda value: f"{value:.0%} unknown"),
    ]
    return ", ".join([*parts, *([] if measured.accuracy is None else [f"accuracy {measured.accuracy:.1%}"])])


def beside(watch: Watch, devices: Sequence[str]) -> str:
    """What stands beside the bar: the newest of one device, or how many have told something."""
    if len(devices) == 1:
        samples = watch.devices[devices[0]].samples
        latency = samples[-1].p95_ms if samples else None
        return f"{samples[-1].fps:.1f} frames/s" + (f", p95 {latency:.1f} ms" if latency else "") if samples else ""
    told = sum(bool(one.samples) for one in watch.devices.values())
    return f"{told} of {len(devices)} tell"
