"""`<kind>/<camera>`: retained messages that go with their camera when that is taken out of the configuration."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edged.daemon.left_behind import LeftBehind
    from edged.mqtt.link import Link


class CameraTopics:
    """Publishes for the cameras that are configured, and takes back what stands there of any other. Thread-safe.

    Args:
        link: Where messages go.
        left_behind: Remembers the cameras of which something stands at the broker.
        kind: First level of the topics.
    """

    def __init__(self, link: Link, left_behind: LeftBehind, kind: str) -> None:
        self._link = link
        self._left_behind = left_behind
        self._base = f"{kind}/"
        self._lock = threading.Lock()
        self._cameras: frozenset[str] = frozenset()

    def configure(self, cameras: Iterable[str]) -> None:
        """Publish for these from now on. One that goes on until the next start says no more of itself."""
        with self._lock:
            self._cameras = frozenset(cameras)
            self._left_behind.remember({self._base + camera: None for camera in sorted(self._cameras)})
            for topic, note in self._left_behind.topics().items():
                camera = topic.removeprefix(self._base)
                if note is None and topic.startswith(self._base) and camera not in self._cameras:
                    self._link.withdraw(topic, partial(self._withdrawn, camera))

    def publish(self, camera: str, payload: bytes) -> None:
        """Publish, retained, where the camera is configured."""
        with self._lock:
            if camera in self._cameras:
                self._link.retained(self._base + camera, payload)

    def __contains__(self, camera: str) -> bool:
        return camera in self._cameras

    def _withdrawn(self, camera: str) -> None:
        """Remember it no more, unless it was configured again meanwhile; on the link's thread."""
        with self._lock:
            if camera not in self._cameras:
                self._left_behind.forget(self._base + camera)
