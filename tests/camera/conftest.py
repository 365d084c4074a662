"""Fixtures of the camera tests: states as they are reported, and captures that always end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from edged.camera import Cameras, CameraState, Capture
from edged.settings import CameraSettings
from edged.types import Frame
from tests.waiting import PATIENCE_S, wait_until


def eventually(condition: Callable[[], object]) -> None:
    """Poll until the condition holds; fail after a long while."""
    wait_until(condition, what="it did not come to pass")


def take(capture: Capture, timeout_s: float) -> Frame | None:
    """Take a frame from one capture, as `Cameras` does from several; None: there was none in time, or it has ended."""
    deadline_s = time.monotonic() + timeout_s
    with capture._ready:
        while (frame := capture.take_now()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not capture._ready.wait(left_s) or capture.exhausted:
                return None
        return frame


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
