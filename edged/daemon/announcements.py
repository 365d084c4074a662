"""What the device says of itself: `info`, `model`, and the answers to `status` and `telemetry`."""

from __future__ import annotations

import functools
import logging
import platform
import threading
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edged import __version__, damage
from edged.contract.commands import COMMANDS
from edged.contract.messages import Alert, CameraInfo, Fallback, Info, ModelInfo, PerformanceInfo, timestamp
from edged.instance import BOOT
from edged.sensors import performance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edged.camera import Cameras, CameraState
    from edged.contract.commands import Command, StatusArgs, TelemetryArgs
    from edged.daemon.detection import Detection
    from edged.daemon.drift import Strange
    from edged.daemon.loop import FrameLoop
    from edged.daemon.storage import Storage
    from edged.daemon.telemetry import TelemetryThread
    from edged.mqtt.link import Link
    from edged.sensors import Sensors
    from edged.settings import Settings
    from edged.store import Store

log = logging.getLogger(__name__)

_PACKAGES = (
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "opencv-python",
    "numpy",
    "paho-mqtt",
)


class Announcements:
    """Publishes retained state. Methods may be called from any thread.

    Args:
        settings: The whole configuration.
        store: Knows which bundle ran before.
        cameras: Their states stand on `info`.
        loop: Its engine is the one that answers.
        telemetry: Its newest message is repeated to who asks for the status.
        sensors: Those in use.
        link: Where messages go.
        storage: Whether the disk takes what is written.
        lr: Returns the learning rate of a training that is asked for without one.
        detections: Camera → what finds its regions; whether that works.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        cameras: Cameras,
        loop: FrameLoop,
        telemetry: TelemetryThread,
        *,
        sensors: Sensors,
        link: Link,
        storage: Storage,
        lr: Callable[[], float],
        detections: Mapping[str, Detection],
    ) -> None:
        self._settings = settings
        self._store = store
        self._cameras = cameras
        self._loop = loop
        self._telemetry = telemetry
        self._sensors = sensors
        self._link = link
        self._storage = storage
        self._lr = lr
        self.troubles: list[Callable[[], str | None]] = [
            functools.partial(getattr, detection, "trouble") for detection in detections.values()
        ]
        """More that may not work as it should: each returns a line for `degraded`, or None."""
        self._told: dict[str, tuple[str, str | None]] = {}
        self._alerts: dict[str, float | None] = {}
        self._lock = threading.Lock()
        for detection in detections.values():
            detection.changed = self.info

    def camera_changed(self, name: str, state: CameraState) -> None:
        """Publish `info` where a camera came or went; on the camera's thread."""
        # A folder's photos differ in size: that alone is no news for everybody who watches `info`.
        news = (state.state, state.error)
        if self._told.get(name) != news:
            self._told[name] = news
            self.info()

    def info(self) -> Info:
        """Publish versions, cameras, runtime and commands."""
        with self._lock:  # camera threads come here too; what is seen last must be sent last
            cameras = {name: CameraInfo(**asdict(state)) for name, state in self._cameras.states.items()}
            degraded = [
                f"camera {name}: {camera.error or 'no frames'}"
                for name, camera in cameras.items()
                if camera.state == "degraded"
            ]
            if (fallback := self._store.fallback) is not None:
                degraded.append(f"model {fallback.id} was given up: {fallback.reason}")
            if (disk := self._storage.degraded) is not None:
                degraded.append(disk)
            if (trouble := self._loop.engine.trouble) is not None:
                degraded.append(trouble)
            degraded += [f"storage: {line}" for line in damage.told()]
            degraded += [line for told in self.troubles if (line := told()) is not None]
            network = self._loop.engine.network
            info = Info(
                device=self._settings.device.id,
                boot=BOOT,
                state="degraded" if degraded else "running",
                versions=_versions(),
                cameras=cameras,
                runtime=network.runtime,
                providers=list(network.providers) or None,
                sensors=self._sensors.name,
                sensors_error=self._sensors.problem,
                performance=_performance(),
                commands=sorted(COMMANDS),
                lr=self._lr(),
                degraded=degraded or None,
            )
            self._link.retained("info", info.encode())
        return info

    @property
    def alerts(self) -> dict[str, bool]:
        """Name → whether it stands now, of all that were looked at."""
        return {name: since is not None for name, since in dict(self._alerts).items()}

    def alert(self, name: str, strange: Strange | None) -> None:
        """Publish an alert where it begins or ends, and once in any case: one from before may stand at the broker."""
        with self._lock:
            since = None if strange is None else strange.since
            if name in self._alerts and self._alerts[name] == since:
                return
            stood = self._alerts.get(name) is not None
            self._alerts[name] = since
            payload = b""
            if strange is not None:
                payload = Alert(name=name, since=timestamp(strange.since), reason=strange.reason).encode()
            self._link.retained(f"alert/{name}", payload)
        if strange is not None:
            log.warning("%s: %s", name, strange.reason)
        elif stood:
            log.info("%s is over", name)

    def model(self) -> ModelInfo:
        """Publish which bundle answers."""
        bundle = self._loop.engine.bundle
        previous, failed = self._store.previous(self._settings.model.name), self._store.fallback
        model = ModelInfo(
            id=bundle.id,
            name=bundle.name,
            backbone=bundle.backbone,
            labels=list(bundle.labels),
            accuracy=bundle.accuracy,
            previous=None if previous is None else previous.id,
            fallback=None
            if failed is None
            else Fallback(id=failed.id, reason=failed.reason, since=timestamp(failed.since.timestamp())),
        )
        self._link.retained("model", model.encode())
        return model

    def status(self, _: Command[StatusArgs]) -> dict[str, Any]:
        """Publish all of it anew; the job's report repeats it, with a count in place of the labels."""
        info, model = self.info(), self.model()
        report: dict[str, Any] = {
            "info": info.model_dump(exclude_none=True),
            "model": {**model.model_dump(exclude_none=True, exclude={"labels"}), "labels": len(model.labels)},
        }
        if (telemetry := self._telemetry.repeat()) is not None:
            report["telemetry"] = telemetry.model_dump(exclude_none=True)
        return report

    def telemetry(self, _: Command[TelemetryArgs]) -> None:
        """Publish the newest telemetry anew, if there is any yet."""
        self._telemetry.repeat()


def _performance() -> PerformanceInfo | None:
    """What the machine is set to; None where it tells nothing of it."""
    told = performance.told()
    return PerformanceInfo(**told) if told else None


@functools.cache
def _versions() -> dict[str, str]:
    """Versions that a person asks for first when something is wrong."""
    versions = {"edged": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
