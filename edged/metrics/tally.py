"""What is counted as it happens: results with their latency and familiarity, and jobs. No clock, and no library.

Counters never go back while the process lives, and there is a bound to how many there are: Prometheus keeps every
combination of label values for as long as it keeps anything.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from edged.contract.commands import COMMANDS
from edged.contract.messages import FINAL
from edged.metrics.snapshot import Counted, Distribution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edged.contract.messages import Job, Result

LATENCY_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the latency's buckets: from a small network on a desktop to a large one on a throttled board."""
FAMILIARITY_BOUNDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""A familiarity is a rank, spread evenly where frames are like what was taught; 0.02 is `model.unknown`'s default."""
MAX_LABELS = 100
"""Of a camera, that are counted by name. A network of ImageNet has 1000, and every retraining may bring new ones."""
OTHER = "(other)"
"""Stands for all labels beyond these."""
_STAGES = ("capture", "preprocess", "invoke", "total")


class _Buckets:
    """How many values lie in each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def snapshot(self) -> Distribution:
        return Distribution(self.bounds, tuple(self.counts), self.total)


class _Camera:
    """What was counted of one camera."""

    __slots__ = ("familiarity", "frames", "labels", "latency", "seen")

    def __init__(self) -> None:
        self.frames = 0
        self.labels: dict[str, int] = {}
        self.seen: set[str] = set()  # since the model changed
        self.latency = {stage: _Buckets(LATENCY_BOUNDS_S) for stage in _STAGES}
        self.familiarity = _Buckets(FAMILIARITY_BOUNDS)

    def count_label(self, label: str) -> None:
        if label not in self.labels and len(self.labels) - (OTHER in self.labels) >= MAX_LABELS:
            # A label that the present model has never answered makes room: most likely it does not know it any more.
            # Where there was none of these before, there is none now.
            unseen = (old for old in self.labels if old not in self.seen and old != OTHER)
            gone = None if OTHER in self.seen else next(unseen, None)
            if gone is None:
                label = OTHER
            else:
                del self.labels[gone]
        self.labels[label] = self.labels.get(label, 0) + 1
        self.seen.add(label)


class ResultTally:
    """Counts classified frames, published or not. Thread-safe; `add` takes microseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self._model = ""

    def add(self, result: Result) -> None:
        """Count a classified frame."""
        with self._lock:
            if result.model != self._model:
                self._model = result.model
                for camera in self._cameras.values():
                    camera.seen.clear()
            camera = self._cameras.get(result.camera) or self._cameras.setdefault(result.camera, _Camera())
            camera.frames += 1
            camera.count_label(result.label)
            latency, buckets = result.latency_ms, camera.latency
            buckets["capture"].add(latency.capture / 1e3)
            buckets["preprocess"].add(latency.preprocess / 1e3)
            buckets["invoke"].add(latency.invoke / 1e3)
            buckets["total"].add(latency.total / 1e3)
            if latency.detect is not None:
                buckets.setdefault("detect", _Buckets(LATENCY_BOUNDS_S)).add(latency.detect / 1e3)
            if result.familiarity is not None:
                camera.familiarity.add(result.familiarity)

    def snapshot(self) -> dict[str, Counted]:
        """Return camera → what was counted of it; only cameras that have given a frame."""
        with self._lock:
            return {
                name: Counted(
                    frames=camera.frames,
                    labels=dict(camera.labels),
                    latency={stage: buckets.snapshot() for stage, buckets in camera.latency.items()},
                    familiarity=camera.familiarity.snapshot() if any(camera.familiarity.counts) else None,
                )
                for name, camera in self._cameras.items()
            }


class JobTally:
    """Counts the ends of jobs, and knows when a retraining last ended. Thread-safe.

    Args:
        retrainings: The newest first: those that an earlier process remembers.
    """

    def __init__(self, retrainings: Iterable[Job] = ()) -> None:
        self._lock = threading.Lock()
        # Those that last are there from the start: Prometheus sees no increase in a series that begins with 1.
        self._lasting = [name for name, args in COMMANDS.items() if args.lasting]
        self._ended: Counter[tuple[str, str]] = Counter(
            {(name, status): 0 for name in self._lasting for status in FINAL}
        )
        self._running: dict[str, str] = {}
        self._retrained: dict[str, float] = {}
        for job in retrainings:
            if job.status in FINAL:
                self._retrained.setdefault(job.status, _seconds(job.ts))

    def add(self, job: Job) -> None:
        """Take a state of a job."""
        with self._lock:
            if job.status not in FINAL:
                self._running[job.id] = job.cmd
                return
            self._running.pop(job.id, None)
            self._ended[job.cmd, job.status] += 1
            if job.cmd == "retrain":
                self._retrained[job.status] = _seconds(job.ts)

    @property
    def ended(self) -> dict[tuple[str, str], int]:
        """(command, final status) → how many since the start."""
        with self._lock:
            return dict(self._ended)

    @property
    def running(self) -> dict[str, int]:
        """Command → how many of its jobs run now."""
        with self._lock:
            return {**dict.fromkeys(self._lasting, 0), **Counter(self._running.values())}

    @property
    def retrained(self) -> dict[str, float]:
        """Final status → when a retraining last ended so, seconds since the epoch."""
        with self._lock:
            return dict(self._retrained)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
