"""Fixtures of the camera tests: states as they are reported, and captures that always end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from edged.camera import Cameras, CameraState, Capture
from edged.settings import CameraSettings
from tests.waiting import PATIENCE_S, wait_until


def eventually(condition: Callable[[], object]) -> None:
    """Poll until the condition holds; fail after a long while."""
    wait_until(condition, what="it did not come to pass")


@dataclass
class Started:
    """Starts captures and remembers what they report."""

    states: list[tuple[str, CameraState]] = field(default_factory=list)
    running: list[Capture | Cameras] = field(default_factory=list)

    def note(self, name: str, state: CameraState) -> None:
        self.states.append((name, state))

    def capture(self, source: str = "pattern", *, prepare: Any = None, opener: Any = None, **settings: Any) -> Capture:
        more = {} if opener is None else {"opener": opener}
        capture = Capture("main", CameraSettings(source=source, **settings), prepare, self.note, **more)
        self.running.append(capture)
        capture.start()
        return capture

    def cameras(self, sources: dict[str, CameraSettings], **more: Any) -> Cameras:
        cameras = Cameras(sources, None, self.note, **more)
        self.running.append(cameras)
        cameras.start()
        return cameras


@pytest.fixture
def started() -> Iterator[Started]:
    everything = Started()
    yield everything
    for running in everything.running:
        assert running.stop(PATIENCE_S)
