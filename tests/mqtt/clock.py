"""A clock that a test sets forward."""

from __future__ import annotations

import pytest


class Clock:
    """Stands where a module of edged looks for Python's `time`."""

    def __init__(self, now: float = 2.0**30) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return round(self.now * 1e9)

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


def set_clock(monkeypatch: pytest.MonkeyPatch, *modules: str) -> Clock:
    """Let these modules of `edged.mqtt` read one clock, which the test sets forward."""
    clock = Clock()
    for module in modules:
        monkeypatch.setattr(f"edged.mqtt.{module}.time", clock)
    return clock
