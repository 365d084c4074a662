"""`label/<camera>`: what each camera shows, retained, for who comes later and wants no message for every frame."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from edged.contract.messages import CameraLabel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edged.contract.messages import Result
    from edged.daemon.left_behind import LeftBehind
    from edged.mqtt.link import Link

_TOPIC = "label/"


class CameraLabels:
    """Publishes a camera's label when it changes, and takes it back when the camera is configured no more.

    Args:
        link: Where labels go.
        left_behind: Remembers the cameras whose label stands at the broker.
    """

    def __init__(self, link: Link, left_behind: LeftBehind) -> None:
        self._link = link
        self._left_behind = left_behind
        self._lock = threading.Lock()
        self._cameras: frozenset[str] = frozenset()
        self._told: dict[str, str] = {}

    def configure(self, cameras: Iterable[str]) -> None:
        """Take the label of every other camera back. One that goes on until the next start says no more of itself."""
        with self._lock:
            self._cameras = frozenset(cameras)
            self._left_behind.remember({_TOPIC + camera: None for camera in sorted(self._cameras)})
            for topic in self._left_behind.topics():
                camera = topic.removeprefix(_TOPIC)
                if topic.startswith(_TOPIC) and camera not in self._cameras:
                    self._told.pop(camera, None)
                    self._link.withdraw(topic, partial(self._withdrawn, camera))

    def add(self, result: Result) -> None:
        """Publish what a frame shows, where the camera's frame before it showed something else."""
        camera = result.camera
        with self._lock:
            if camera not in self._cameras or self._told.get(camera) == result.label:
                return
            self._told[camera] = result.label
            label = CameraLabel(
                ts=result.ts,
                label=result.label,
                score=result.score,
                familiarity=result.familiarity,
                since=result.ts,
            )
            self._link.retained(_TOPIC + camera, label.encode())

    def _withdrawn(self, camera: str) -> None:
        """Remember it no more, unless it was configured again meanwhile; on the link's thread."""
        with self._lock:
            if camera not in self._cameras:
                self._left_behind.forget(_TOPIC + camera)
