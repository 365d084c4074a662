"""Several cameras, one consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from edged.camera.capture import STOP_TIMEOUT_S, Capture
from edged.camera.opening import open_source
from edged.camera.source import CameraState

if TYPE_CHECKING:
    from edged.camera.capture import Look
    from edged.camera.source import Source
    from edged.settings import CameraSettings
    from edged.types import Frame, Image


class Cameras:
    """All captures of the daemon; frames are taken in turn, always the newest of each camera.

    Args:
        settings: `[cameras]`: name → settings.
        prepare: See `Capture`.
        on_state: See `Capture`; called on each camera's own thread.
        opener: Opens a source.
        looks: Name → what finds the regions of its frames, see `Capture`; absent: they are classified whole.
    """

    def __init__(
        self,
        settings: Mapping[str, CameraSettings],
        prepare: Callable[[Image], Image] | None,
        on_state: Callable[[str, CameraState], None],
        *,
        opener: Callable[[str, CameraSettings], Source] = open_source,
        looks: Mapping[str, Look] = MappingProxyType({}),
    ) -> None:
        self._ready = threading.Condition()
        self.captures = {
            name: Capture(name, camera, prepare, on_state, ready=self._ready, opener=opener, look=looks.get(name))
            for name, camera in settings.items()
        }
        self._turn = list(self.captures.values())

    def __iter__(self) -> Iterator[Capture]:
        return iter(self.captures.values())

    def start(self) -> None:
        """Start every camera's thread."""
        for capture in self:
            capture.start()

    def take(self, timeout_s: float) -> Frame | None:
        """Take the newest frame of the camera that has waited longest for its turn.

        Returns:
            None when no camera had a frame in time, or the last camera ends.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._ready:
            while True:
                for place, capture in enumerate(self._turn):
                    if (frame := capture.take_now()) is not None:
                        self._turn.append(self._turn.pop(place))
                        return frame
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._ready.wait(left_s) or self.exhausted:
                    return None

    def interval_s(self, camera: str) -> float | None:
        """Return the time from one frame of a camera to the next, where it is limited."""
        return self.captures[camera].interval_s

    @property
    def states(self) -> dict[str, CameraState]:
        """How each camera is doing."""
        return {capture.name: capture.state for capture in self}

    @property
    def dropped(self) -> int:
        """Frames of all cameras that were replaced before anyone took them."""
        return sum(capture.dropped for capture in self)

    @property
    def exhausted(self) -> bool:
        """Whether every camera has ended (files that do not loop) and its last frame was taken."""
        return all(capture.exhausted for capture in self)

    def set_prepare(self, prepare: Callable[[Image], Image] | None) -> None:
        """Prepare frames of every camera differently from now on."""
        for capture in self:
            capture.set_prepare(prepare)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End all threads together.

        Returns:
            False when one of them still blocks inside a driver after `timeout_s`.
        """
        for capture in self:
            capture.request_stop()
        deadline_s = time.monotonic() + timeout_s
        stopped = [capture.stop(max(0.0, deadline_s - time.monotonic())) for capture in self]
        return all(stopped)
