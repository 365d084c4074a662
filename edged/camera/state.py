"""What a camera's thread reports of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
