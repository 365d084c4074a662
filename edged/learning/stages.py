"""How far a training is on its way through its stages, and what each of them takes."""

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
    "comparison": (0.9, 0.95),
    "export": (0.95, 0.96),
    "evaluation": (0.96, 0.97),
    "learning curve": (0.97, 0.99),
    "writing": (0.99, 1.0),
}
"""Where each stage begins and ends on the way from 0 to 1."""


class Stages:
    """Tells how far a training is on its way through its stages, and notes what each of them takes.

    Args:
        tell: Called with the progress.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._done = 0.0  # what was done in vain is not taken back

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Tell that a stage begins; note what it has taken when the block is left."""
        self.progress(stage, 0.0)
        began = time.monotonic()
        yield
        self._seconds[stage] = round(self._seconds.get(stage, 0.0) + time.monotonic() - began, 3)

    def progress(self, stage: Stage, fraction: float, detail: dict[str, Any] | None = None) -> None:
        """Tell how far a stage is.

        Args:
            stage: The stage.
            fraction: How much of it is done, 0..1.
            detail: The stage's own numbers, see `Progress.detail`.
        """
        begin, end = _SHARE[stage]
        self._done = max(self._done, begin + (end - begin) * min(fraction, 1.0))
        self._tell(Progress(stage, self._done, detail or {}))

    def seconds(self) -> dict[str, float]:
        """Return stage → seconds that it has taken, of the stages that are done; and "total", so far."""
        return {**self._seconds, "total": round(time.monotonic() - self._began, 3)}
