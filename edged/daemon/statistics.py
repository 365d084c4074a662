"""Counters that the publisher writes and telemetry reads."""

from __future__ import annotations

import threading
import time

import numpy as np

from edged.contract.messages import Latency


class Statistics:
    """Frames and their latency since the start and since the last `take`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames = 0
        self._window: list[float] = []
        self._window_began = time.monotonic()
        self.fps = 0.0
        """Of the last finished window."""
        self.latency: Latency | None = None
        """Of the last finished window that had frames."""

    @property
    def frames(self) -> int:
        """Frames classified since the start."""
        return self._frames

    def add(self, total_ms: float) -> None:
        """Count one frame that took `total_ms` from capture to hand-over."""
        with self._lock:
            self._frames += 1
            self._window.append(total_ms)

    def roll(self) -> None:
        """End the window: compute `fps` and `latency` from it, begin a new one."""
        now = time.monotonic()
        with self._lock:
            window, self._window = self._window, []
            seconds, self._window_began = now - self._window_began, now
        self.fps = round(len(window) / seconds, 2) if seconds > 0 else 0.0
        self.latency = quantiles(window)


def quantiles(values: list[float]) -> Latency | None:
    """Return nearest-rank quantiles (the ⌈q·n⌉-th smallest); None without values."""
    if not values:
        return None
    found = np.quantile(values, (0.5, 0.95, 0.99, 1.0), method="inverted_cdf").tolist()
    p50, p95, p99, most = (round(value, 3) for value in found)
    return Latency(p50=p50, p95=p95, p99=p99, max=most)
