"""What people read of a roll-out: names, times, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edged.ctl.rollout.observation import Watch
from edged.ctl.rollout.verdict import Accuracy, Measured, Spread
from edged.plural import counted


def reason(device: str, error: Exception) -> str:
    """Return what an error says, without the device's name before it."""
    return str(error).removeprefix(f"{device}: ").removeprefix(f"{device} ")


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
    return ", ".join(parts)


def overall(told: Iterable[Accuracy | None]) -> str:
    """Write the accuracy old → new of all devices that have judged it, each of their test images counted once."""
    judged = [
        (one.images, one.before, one.after)
        for one in told
        if one is not None and one.images and one.before is not None and one.after is not None
    ]
    if not judged:
        return "–"
    total = sum(images for images, _, _ in judged)
    before, after = (sum(one[0] * one[which] for one in judged) / total for which in (1, 2))
    return f"{before:.1%} → {after:.1%} ({counted(len(judged), 'device')})"


def beside(watch: Watch, devices: Sequence[str]) -> str:
    """What stands beside the bar: the newest of one device, or how many have told something."""
    if len(devices) == 1:
        samples = watch.devices[devices[0]].samples
        latency = samples[-1].p95_ms if samples else None
        return f"{samples[-1].fps:.1f} frames/s" + (f", p95 {latency:.1f} ms" if latency else "") if samples else ""
    told = sum(bool(one.samples) for one in watch.devices.values())
    return f"{told} of {len(devices)} tell"
