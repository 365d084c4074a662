from __future__ import annotations

import logging
import threading
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.errors import CameraError
from edged.settings import CameraSettings
from edged.types import Frame
from tests.clips import Clip
from tests.waiting import PATIENCE_S

from .conftest import Started, eventually, take


class Scripted:
    """A source that delivers what a test releases, frame by frame."""

    def __init__(self, *, live: bool = True) -> None:
        self.live = live
        self.steps: list[np.ndarray | Exception | None] = []
        self.released = threading.Semaphore(0)
        self.asked = 0
        self.reads = 0
        self.closed = 0
        self.interrupted = 0

    def release(self, *steps: np.ndarray | Exception | None) -> None:
        for step in steps:
            self.steps.append(step)
            self.released.release()

    def read(self) -> np.ndarray | None:
        self.asked += 1
        self.released.acquire()
        step = self.steps[self.reads]
        self.reads += 1
        if isinstance(step, Exception):
            raise step
        return step

    def interrupt(self) -> None:
        self.interrupted += 1
        self.release(CameraError("interrupted"))

    def close(self) -> None:
        self.closed += 1


def picture(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> str:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), np.full((6, 8, 3), number * 10, np.uint8))
    return f"dir://{tmp_path}"


def taken(capture, most: int = 1000) -> list[Frame]:
    frames: list[Frame] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while len(frames) < most and not capture.exhausted:
        assert time.monotonic() < deadline_s
        if (frame := take(capture, 1.0)) is not None:
            frames.append(frame)
    return frames


def test_every_frame_of_a_clip_exactly_once(clip: Clip, started: Started) -> None:
    capture = started.capture(f"file://{clip.path}", loop=False)
    frames = taken(capture)
    assert [frame.seq for frame in frames] == list(range(clip.frames))
    assert capture.dropped == 0
    assert [state.state for _, state in started.states] == ["running", "ended"]
    assert (capture.state.width, capture.state.height) == (clip.width, clip.height)
    assert all(a.captured_ns < b.captured_ns for a, b in pairwise(frames))
    assert take(capture, 0.0) is None


def test_a_slow_consumer_still_gets_every_photo(photos: str, started: Started) -> None:
    capture = started.capture(photos, loop=False)
    values = []
    while not capture.exhausted:
        if (frame := take(capture, 1.0)) is not None:
            values.append(int(frame.image[0, 0, 0]))
            time.sleep(0.005)
    assert values == [number * 10 for number in range(12)]
    assert capture.dropped == 0


def test_the_next_frame_is_read_ahead_and_no_further(started: Started) -> None:
    source = Scripted(live=False)
    capture = started.capture(opener=lambda *_: source)
    source.release(*[picture(n) for n in range(5)])
    assert (frame := take(capture, PATIENCE_S)) is not None
    assert frame.seq == 0
    eventually(lambda: source.reads == 2)
    time.sleep(0.05)
    assert source.reads == 2


def test_photos_loop(photos: str, started: Started) -> None:
    capture = started.capture(photos)
    frames = taken(capture, 30)
    assert [frame.seq for frame in frames] == list(range(30))
    assert frames[12].image[0, 0, 0] == frames[0].image[0, 0, 0]


def test_live_keeps_the_newest_and_counts_the_rest(started: Started) -> None:
    source = Scripted()
    capture = started.capture(opener=lambda *_: source)
    source.release(*[picture(n) for n in range(10)])
    eventually(lambda: capture.dropped == 9)
    frame = take(capture, PATIENCE_S)
    assert frame is not None
    assert (frame.seq, frame.image[0, 0, 0]) == (9, 9)
    assert take(capture, 0.0) is None


def test_pace_makes_a_file_drop_instead_of_waiting(photos: str, started: Started) -> None:
    capture = started.capture(photos, fps=500, loop=False)
    eventually(lambda: capture.state.state == "ended")
    assert capture.dropped == 11
    frame = take(capture, 0.0)
    assert frame is not None
    assert frame.seq == 11
    assert capture.exhausted


def test_pace_is_kept(started: Started) -> None:
    capture = started.capture("pattern", fps=50)
    frames = taken(capture, 20)
    spent_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    # Never faster, whichever frame was the first that this thread came to take; a busy machine may be slower.
    assert spent_s >= (frames[-1].seq - frames[0].seq - 2) / 50


def test_set_fps_wakes_a_slow_pace(started: Started) -> None:
    capture = started.capture("pattern", fps=0.001)
    assert take(capture, PATIENCE_S) is not None
    assert take(capture, 0.05) is None
    capture.set_fps(0)
    assert len(taken(capture, 5)) == 5


def test_live_is_thinned(started: Started) -> None:
    source = Scripted()
    capture = started.capture(opener=lambda *_: source, fps=0.001)
    source.release(*[picture(n) for n in range(10)])
    eventually(lambda: source.reads == 10)
    frame = take(capture, PATIENCE_S)
    assert frame is not None
    assert frame.image[0, 0, 0] == 0
    assert capture.dropped == 0


def test_region_and_preparation(started: Started) -> None:
    def halve(image: np.ndarray) -> np.ndarray:
        return image[::2, ::2].copy()

    capture = started.capture("pattern", roi=(0.5, 0.25, 0.5, 0.5), prepare=halve)
    frame = take(capture, PATIENCE_S)
    assert frame is not None
    assert frame.image.shape == (240, 320, 3)
    assert frame.prepared is not None
    np.testing.assert_array_equal(frame.prepared, frame.image[::2, ::2])
    assert frame.prepared_by == halve
    assert frame.preprocess_ms > 0
    assert frame.capture_ms > 0
    assert (capture.state.width, capture.state.height) == (640, 480)


def test_preparation_is_replaced_and_tagged(started: Started) -> None:
    old, new = np.negative, np.invert
    capture = started.capture("pattern", prepare=old)
    assert (frame := take(capture, PATIENCE_S)) is not None
    assert frame.prepared_by == old
    capture.set_prepare(new)
    assert [frame.prepared_by for frame in taken(capture, 4)][-1] == new
    capture.set_prepare(None)
    assert [(frame.prepared, frame.preprocess_ms) for frame in taken(capture, 4)][-1] == (None, 0.0)


def test_lost_and_found_again(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sources: list[Scripted] = []

    def opener(name: str, settings: CameraSettings) -> Scripted:
        source = Scripted()
        sources.append(source)
        source.release(*[picture(n) for n in range(3)], CameraError("unplugged"))
        return source

    capture = started.capture(opener=opener)
    eventually(lambda: len(sources) >= 3)
    assert [state.state for _, state in started.states[:4]] == ["running", "degraded"] * 2
    assert started.states[1][1].error == "camera 'main': source 'pattern': unplugged"
    assert started.states[1][1].width == 30
    assert all(source.closed == 1 for source in sources[:2])
    assert (frame := take(capture, PATIENCE_S)) is not None
    assert frame.seq >= 2
    assert "camera 'main': running, 30×20 from pattern" in caplog.text


def test_a_camera_that_never_comes_is_logged_once(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[str] = []

    def opener(name: str, settings: CameraSettings) -> Scripted:
        attempts.append(name)
        raise CameraError("camera 'main': nothing there")

    capture = started.capture(opener=opener)
    eventually(lambda: len(attempts) >= 3)
    assert [record.message for record in caplog.records] == ["camera 'main': nothing there; retrying"]
    assert [state.state for _, state in started.states] == ["degraded"]
    assert capture.stop(PATIENCE_S)  # wherever in its backoff it is


def test_an_unexpected_exception_costs_one_attempt(started: Started) -> None:
    def fragile(image: np.ndarray) -> np.ndarray:
        if not started.states[1:]:
            raise ZeroDivisionError("a bug")
        return image

    capture = started.capture("pattern", prepare=fragile)
    eventually(lambda: [state.state for _, state in started.states] == ["running", "degraded", "running"])
    assert started.states[1][1].error == "camera 'main': unexpected ZeroDivisionError: a bug"
    assert take(capture, PATIENCE_S) is not None


def test_a_missing_camera_is_degraded_not_an_exit(started: Started) -> None:
    capture = started.capture("/dev/video987")
    eventually(lambda: capture.state.state == "degraded")
    assert capture.state.error is not None
    assert "/dev/video987 does not exist" in capture.state.error


def test_stop_interrupts_a_blocked_read(started: Started) -> None:
    source = Scripted()
    capture = started.capture(opener=lambda *_: source)
    eventually(lambda: source.asked == 1)
    assert capture.stop(PATIENCE_S)
    assert source.interrupted >= 1
    assert source.closed == 1
    assert started.states == []  # being stopped is no failure


def test_stop_gives_up_on_a_deaf_driver(started: Started) -> None:
    source = Scripted()
    source.interrupt = lambda: None  # type: ignore[method-assign]
    capture = started.capture(opener=lambda *_: source)
    eventually(lambda: source.asked == 1)  # before that the thread would see by itself that it shall end
    assert not capture.stop(0.05)
    source.release(picture(0))  # the driver comes back
    assert capture.stop(PATIENCE_S)
    assert source.closed == 1


def test_the_network_need_not_wait_for_a_paused_consumer(started: Started) -> None:
    capture = started.capture("pattern")
    eventually(lambda: capture.state.state == "running")
    assert capture.stop(PATIENCE_S)  # the thread was waiting for room in the slot
    assert take(capture, 0.0) is not None
