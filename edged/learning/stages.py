"""Where a training is on its way: the stage, how far, and what each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edged.learning.request import Progress, Stage

Tell = Callable[[Progress], None]

_SHARE: dict[Stage, tuple[float, float]] = {
    "scan": (0.0, 0.04),
    "bottlenecks": (0.04, 0.8),
    "training": (0.8, 0.9),
    "export": (0.9, 0.91),
    "evaluation": (0.91, 0.93),
    "learning curve": (0.93, 0.99),
    "writing": (0.99, 1.0),
}
"""Where each stage begins and ends on the way from 0 to 1."""


class Stages:
    """A stopwatch that tells.

    Args:
        tell: Called with the progress.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Tell that a stage begins, and note what it takes."""
        self.progress(stage, 0.0)
        began = time.monotonic()
        yield
        self._seconds[stage] = round(time.monotonic() - began, 3)

    def progress(self, stage: Stage, fraction: float, detail: dict[str, Any] | None = None) -> None:
        """Tell how far a stage is, 0..1, and its numbers."""
        begin, end = _SHARE[stage]
        self._tell(Progress(stage, begin + (end - begin) * min(fraction, 1.0), detail or {}))

    def seconds(self) -> dict[str, float]:
        """Return stage → seconds of those that are done, and "total", so far."""
        return {**self._seconds, "total": round(time.monotonic() - self._began, 3)}
