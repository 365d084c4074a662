"""Frames of cameras, fetched by `snapshot` when a page asks, and shared by all pages that look."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edged.ctl.errors import RejectedError
from edged.errors import EdgedError

Fetch = Callable[[str, str | None], "tuple[bytes, dict[str, Any]]"]
"""Returns the newest frame of a device's camera (None: of any) and what it was classified as; raises `EdgedError`."""
_REFUSED_S = 60.0
"""A device that has refused or failed is asked again after so long."""
_KEPT = 4
_CAMERAS = 64
"""Of so many cameras frames are kept: those that were looked at last."""


@dataclass(frozen=True)
class Picture:
    """One frame: JPEG, the result's JSON, a number that names it, and when it came, monotonic seconds."""

    jpeg: bytes
    result: dict[str, Any]
    number: int
    at: float


@dataclass
class _Camera:
    lock: threading.Lock = field(default_factory=threading.Lock)
    newest: OrderedDict[int, Picture] = field(default_factory=OrderedDict)
    error: EdgedError | None = None
    refused_at: float = 0.0


class Pictures:
    """Frames by device and camera. Safe to use from any thread.

    Args:
        fetch: Asks a device.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._cameras: OrderedDict[tuple[str, str | None], _Camera] = OrderedDict()
        self._numbers = 0

    def newest(self, device: str, camera: str | None, max_age_s: float) -> Picture:
        """Return a frame that came at most so many seconds ago; who asks meanwhile waits for the same.

        Raises:
            EdgedError: The device does not answer, or refuses; or it did so less than a minute ago.
        """
        one = self._camera(device, camera)
        with one.lock:
            now = time.monotonic()
            picture = next(reversed(one.newest.values()), None)
            if picture is not None and now - picture.at <= max_age_s:
                return picture
            if one.error is not None and now - one.refused_at < _REFUSED_S:
                raise one.error
            one.error = None
            try:
                jpeg, result = self._fetch(device, camera)
            except EdgedError as error:
                # A refusal stands: it has no camera. One that does not answer may be back at any moment.
                if isinstance(error, RejectedError):
                    one.error, one.refused_at = error, time.monotonic()
                raise
            with self._lock:
                self._numbers += 1
                picture = Picture(jpeg, result, self._numbers, time.monotonic())
            one.newest[picture.number] = picture
            while len(one.newest) > _KEPT:
                one.newest.popitem(last=False)
            return picture

    def numbered(self, device: str, camera: str | None, number: int) -> Picture | None:
        """Return a frame by its number; None: it is no longer here."""
        return self._camera(device, camera).newest.get(number)

    def _camera(self, device: str, camera: str | None) -> _Camera:
        with self._lock:
            one = self._cameras.setdefault((device, camera), _Camera())
            self._cameras.move_to_end((device, camera))
            while len(self._cameras) > _CAMERAS:
                self._cameras.popitem(last=False)
            return one
