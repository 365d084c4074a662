"""Frames from cameras, files, folders and pipelines.

`open_source` knows every kind of source, `Capture` reads one on a thread of its own and keeps the newest frame,
`Cameras` lets one consumer wait for any of several. One photo is read by `edged.codec`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edged.camera.cameras import Cameras
from edged.camera.capture import Capture
from edged.camera.opening import open_source
from edged.camera.state import CameraState

if TYPE_CHECKING:
    from edged.types import Image

__all__ = ["CameraState", "Cameras", "Capture", "Source", "open_source"]


class Source(Protocol):
    """Something that delivers frames. Adapters translate their library's failures into CameraError.

    `read` and `close` are called by one thread; `interrupt` by any other.
    """

    live: bool
    """True for a camera or a stream that produces frames by its own clock; False for files, folders and the pattern."""

    def read(self) -> Image | None:
        """Return the next frame, RGB (height, width, 3) uint8; None when a file or folder has ended.

        The caller owns the array: it is never written to again.

        Raises:
            CameraError: The camera is lost; the caller closes this source and opens a new one.
        """

    def interrupt(self) -> None:
        """Make a blocked `read` fail soon where that is possible; otherwise do nothing."""

    def close(self) -> None:
        """Release the device, child process or file. May be called twice."""
