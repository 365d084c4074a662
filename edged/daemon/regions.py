"""Finds the regions of a camera's frames, as `[cameras.NAME] regions` says; on the camera's own thread.

What a detector finds, `daemon.detection` finds on the main thread: it takes as long as a classifier, and looks only at
frames that are classified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edged.regions import Motion, Tracker, fixed, grid

if TYPE_CHECKING:
    from edged.settings import CameraSettings
    from edged.types import Image, Region

Look = Callable[["Image", float], "tuple[Region, ...]"]
"""Takes a frame, RGB, and when it was captured, monotonic seconds; returns its regions."""


def open_looks(cameras: Mapping[str, CameraSettings]) -> dict[str, Look]:
    """Return for each camera with regions what finds them; the frames of every other camera are classified whole."""
    return {name: _open(settings) for name, settings in cameras.items() if settings.regions}


def _open(settings: CameraSettings) -> Look:
    wanted = settings.regions
    if not isinstance(wanted, str):
        return _always(fixed(wanted))
    if settings.detector is not None:
        return _always(())  # `daemon.detection` finds them
    if settings.grid is not None:
        return _always(grid(*settings.grid))
    return _moving()


def _always(regions: tuple[Region, ...]) -> Look:
    return lambda _image, _now_s: regions


def _moving() -> Look:
    motion, tracker = Motion(), Tracker()
    return lambda image, now_s: tracker.update(motion(image, now_s, tracker.expected(now_s)), now_s)
