"""Metrics of the running daemon: who counts for them, and what a scrape gets. There only with `[metrics] listen`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from edged import __version__
from edged.contract.messages import Job
from edged.memory import available_bytes
from edged.metrics import Exposition, JobTally, MetricsServer, ModelFacts, ResultTally, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edged.camera import Cameras
    from edged.daemon.announcements import Announcements
    from edged.daemon.drift import DriftWatch
    from edged.daemon.loop import FrameLoop
    from edged.daemon.publisher import Publisher
    from edged.daemon.telemetry import TelemetryThread
    from edged.mqtt.link import Link

_REMEMBERED = 50
"""So many retrainings of earlier starts are looked at, for when one last ended in each way."""


class Metrics:
    """Counts from now on, and serves what was counted.

    Args:
        address: Host and port.
        device: `device.id`.
        cameras: Their states, and what they dropped.
        loop: Its engine is the one that answers.
        publisher: Tells each result.
        telemetry: Reads the sensors.
        drift: Knows each camera's.
        announcements: Knows which alerts stand, and tells in `info` where the port cannot be had.
        link: Its outbox and its jobs.
        sensors: Name of those in use.

    Raises:
        ConfigError: The library is not installed.
    """

    def __init__(
        self,
        address: tuple[str, int],
        device: str,
        *,
        cameras: Cameras,
        loop: FrameLoop,
        publisher: Publisher,
        telemetry: TelemetryThread,
        drift: DriftWatch,
        announcements: Announcements,
        link: Link,
        sensors: str,
    ) -> None:
        self._server = MetricsServer(address, Exposition(self.snapshot).encode, announcements.info)
        self._device = device
        self._cameras = cameras
        self._loop = loop
        self._telemetry = telemetry
        self._drift = drift
        self._announcements = announcements
        self._link = link
        self._sensors = sensors
        self._results = ResultTally()
        self._jobs = JobTally(_readable(link.ledger.jobs(["retrain"], _REMEMBERED)))
        publisher.counters.append(self._results.add)
        link.job_observers.append(self._jobs.add)
        announcements.troubles.append(lambda: self._server.trouble)

    def start(self) -> None:
        """Begin to serve; returns at once."""
        self._server.start()

    def stop(self, timeout_s: float) -> None:
        """Close the port, waiting at most `timeout_s`."""
        self._server.stop(timeout_s)

    def snapshot(self) -> Snapshot:
        """Return all that a scrape tells; on any thread."""
        engine, link = self._loop.engine, self._link
        bundle = engine.bundle
        drift, _ = self._drift.state(time.monotonic(), time.time())
        return Snapshot(
            about={
                "device": self._device,
                "version": __version__,
                "runtime": engine.network.runtime,
                "sensors": self._sensors,
            },
            cameras={
                name: state.state == "running" for name, state in self._cameras.states.items() if state.state != "ended"
            },
            counted=self._results.snapshot(),
            dropped={capture.name: capture.dropped for capture in self._cameras},
            drift={camera: found.statistic for camera, found in drift.items()},
            model=ModelFacts(
                id=bundle.id,
                name=bundle.name,
                backbone=bundle.backbone,
                labels=len(bundle.labels),
                accuracy=bundle.accuracy,
            ),
            reading=self._telemetry.recent,
            memory_available=available_bytes(),
            connected=link.connected,
            outbox=link.backlog,
            outbox_bytes=link.backlog_bytes,
            outbox_limit_bytes=link.limit_bytes,
            outbox_dropped=link.dropped,
            jobs=self._jobs.ended,
            running=self._jobs.running,
            retrained=self._jobs.retrained,
            alerts=self._announcements.alerts,
        )


def _readable(states: Iterable[bytes]) -> Iterator[Job]:
    """Yield jobs that were remembered; those of another version of edged may say what this one does not know."""
    for state in states:
        try:
            yield Job.model_validate_json(state)
        except ValidationError:
            continue
