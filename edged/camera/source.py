"""What delivers frames, and how a camera is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from edged.types import Image


@dataclass(frozen=True, slots=True)
class CameraState:
    """How a camera is doing: the fields of `info`'s cameras.

    Attributes:
        source: As configured, without a password.
        state: `ended` is a file or folder that does not loop.
        error: One line, while degraded.
        width: Of the whole frame, before the region of interest was cut out; None before the first one.
        height: Likewise.
    """

    source: str
    state: Literal["starting", "running", "degraded", "ended"] = "starting"
    error: str | None = None
    width: int | None = None
    height: int | None = None


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
