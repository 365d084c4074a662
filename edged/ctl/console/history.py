"""The last hour of a device's telemetry, in little memory: a thousand devices are kept at once."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

from edged.contract.messages import Telemetry

SPAN_S = 3600.0
STEP_S = 5.0
"""Telemetry that comes more often than this shares a point."""
_MAX_SERIES = 40
"""Of one device: names of zones and rails come over the wire, and are kept."""
_MAX_CAMERAS = 16
"""Likewise."""
_PEAKS = ("latency.", "throttled")
"""Of what shares a point the greatest counts; of anything else the newest."""


class History:
    """One device's points, oldest first.

    A series is a name such as "latency.p95", "power.VDD_IN", "temp.CPU", "fps", "throttled"; a value that a point does
    not have is NaN.
    """

    __slots__ = ("_labels", "_series", "_times")

    def __init__(self) -> None:
        self._times = array("d")
        self._labels: dict[str, list[str | None]] = {}
        self._series: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def take(self, told: Telemetry, at: float) -> None:
        """Add a message.

        Args:
            told: What the device said.
            at: When it arrived, seconds since the epoch.
        """
        time = math.floor(at / STEP_S) * STEP_S
        fresh = not self._times or time > self._times[-1]
        if fresh:
            self._times.append(time)
            for labels in self._labels.values():
                labels.append(None)
            for values in self._series.values():
                values.append(math.nan)
        for name, value in readings(told):
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= _MAX_SERIES:
                    continue
                series = self._series[name] = array("f", [math.nan]) * len(self._times)
            if not (name.startswith(_PEAKS) and series[-1] >= value):
                series[-1] = value
        for camera, seen in (told.seen or {}).items():
            if camera not in self._labels:
                if len(self._labels) >= _MAX_CAMERAS:
                    continue
                self._labels[camera] = [None] * len(self._times)
            self._labels[camera][-1] = seen.label
        self._forget(time - SPAN_S)

    def _forget(self, before: float) -> None:
        gone = 0
        while self._times[gone] < before:
            gone += 1
        if gone:
            del self._times[:gone]
            for camera, labels in list(self._labels.items()):
                del labels[:gone]
                if not any(labels):
                    del self._labels[camera]
            for name, values in list(self._series.items()):
                del values[:gone]
                if all(map(math.isnan, values)):
                    del self._series[name]

    def as_json(self, since: float = 0.0) -> dict[str, Any]:
        """Return the points from `since` on, seconds since the epoch: `t`, `labels` by camera, `series` by name."""
        begin = len(self._times)
        while begin and self._times[begin - 1] >= since:
            begin -= 1
        return {
            "t": self._times[begin:].tolist(),
            "labels": {camera: labels[begin:] for camera, labels in self._labels.items()},
            "series": {
                name: [None if math.isnan(value) else float(f"{value:.6g}") for value in values[begin:]]
                for name, values in self._series.items()
            },
        }


def readings(told: Telemetry) -> Iterator[tuple[str, float]]:
    """Yield what a message says that a chart can show: name of the series, value."""
    yield "fps", told.fps
    yield "outbox", float(told.outbox)
    if told.latency_ms is not None:
        for quantile in ("p50", "p95", "p99"):
            yield f"latency.{quantile}", getattr(told.latency_ms, quantile)
    if told.throttled is not None:
        yield "throttled", float(told.throttled)
    for kind, values in (("power", told.power_mw), ("temp", told.temp_c), ("load", told.load)):
        for name, value in sorted((values or {}).items()):
            yield f"{kind}.{name}", float(value)
    if told.familiarity is not None:
        yield "familiarity", told.familiarity.mean
