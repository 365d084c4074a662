"""Counters that the publisher writes and telemetry reads."""

from __future__ import annotations

import threading
import time

import numpy as np

from edged.contract.messages import UNKNOWN, Familiarity, Latency, Result, Seen


class Statistics:
    """Frames, their latency and what they showed, since the start and since the last `roll`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames = 0
        self._window = 0
        self._latencies: list[float] = []
        self._window_began = time.monotonic()
        self._familiar: list[float] = []
        self._unknown = 0
        self._newest: dict[str, Result] = {}
        self.fps = 0.0
        """Of the last finished window."""
        self.latency: Latency | None = None
        """Of the last finished window; None: it had no frames."""
        self.familiarity: Familiarity | None = None
        """Of the last finished window; None: nothing in it has a familiarity."""
        self.seen: dict[str, Seen] = {}
        """Camera → what it showed last in the last finished window."""

    @property
    def frames(self) -> int:
        """Frames classified since the start."""
        return self._frames

    def add(self, result: Result) -> None:
        """Count one classified frame; a region of one belongs to a frame that is counted by `count`."""
        with self._lock:
            self._frames += result.track is None
            self._window += result.track is None
            self._latencies.append(result.latency_ms.total)
            self._newest[result.camera] = result
            if result.familiarity is not None:
                self._familiar.append(result.familiarity)
                self._unknown += result.label == UNKNOWN

    def count(self) -> None:
        """Count one frame whose regions are classified, if it has any."""
        with self._lock:
            self._frames += 1
            self._window += 1

    def roll(self) -> None:
        """End the window: compute what is told of it, begin a new one."""
        now = time.monotonic()
        with self._lock:
            window, self._window = self._window, 0
            latencies, self._latencies = self._latencies, []
            seconds, self._window_began = now - self._window_began, now
            familiar, self._familiar = self._familiar, []
            unknown, self._unknown = self._unknown, 0
            newest, self._newest = self._newest, {}
        self.fps = round(window / seconds, 2) if seconds > 0 else 0.0
        self.latency = quantiles(latencies)
        self.familiarity = None
        if familiar:
            mean, share = sum(familiar) / len(familiar), unknown / len(familiar)
            self.familiarity = Familiarity(mean=round(mean, 4), unknown=round(share, 4), frames=len(familiar))
        self.seen = {
            camera: Seen(label=result.label, score=result.score, familiarity=result.familiarity)
            for camera, result in newest.items()
        }


def quantiles(values: list[float]) -> Latency | None:
    """Return nearest-rank quantiles (the ⌈q·n⌉-th smallest); None without values."""
    if not values:
        return None
    found = np.quantile(values, (0.5, 0.95, 0.99, 1.0), method="inverted_cdf").tolist()
    p50, p95, p99, most = (round(value, 3) for value in found)
    return Latency(p50=p50, p95=p95, p99=p99, max=most)
