"""Frames from cameras, files, folders and pipelines. `open_source` knows every kind; `Capture` keeps the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edged.types import Image


class Source(Protocol):
    """Something that delivers frames. Adapters translate their library's failures into CameraError."""

    live: bool
    """True for a camera or a stream that produces frames by its own clock; False for files, folders and the pattern."""

    def read(self) -> Image | None:
        """Return the next frame, RGB (height, width, 3) uint8; None when a file or folder has ended.

        Raises:
            CameraError: The camera is lost; the caller closes this source and opens a new one.
        """

    def close(self) -> None:
        """Release the device, child process or file. May be called twice."""
