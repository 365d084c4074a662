"""From measured milliseconds to the numbers of a report; and how long to go on measuring."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any


def summarize(times_ms: Sequence[float]) -> dict[str, Any]:
    """Return images, total, mean and nearest-rank quantiles (the ⌈q·n⌉-th smallest), milliseconds."""
    ordered = sorted(times_ms)

    def at(percent: int) -> float:
        return round(ordered[math.ceil(percent * len(ordered) / 100) - 1], 4)

    total = math.fsum(ordered)
    return {
        "images": len(ordered),
        "total_ms": round(total, 3),
        "mean_ms": round(total / len(ordered), 4),
        "p50_ms": at(50),
        "p95_ms": at(95),
        "p99_ms": at(99),
    }


def measure(once: Callable[[int], float], count: int, seconds: float) -> list[float]:
    """Call `once` with 0, 1, 2, …, at most `count` times and, after the first, for at most so many seconds.

    Args:
        once: Does the work and returns the milliseconds that count.
        count: At least 1.
        seconds: The time after which no new call begins.
    """
    deadline = time.monotonic() + seconds
    times = [once(0)]
    while len(times) < count and time.monotonic() < deadline:
        times.append(once(len(times)))
    return times
