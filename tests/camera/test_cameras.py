from __future__ import annotations

from collections import Counter

from edged.demo import PHOTOS
from edged.settings import CameraSettings
from tests.clips import Clip
from tests.waiting import PATIENCE_S

from .conftest import Started, eventually


def test_cameras_take_turns(started: Started) -> None:
    names = ["front", "back", "side"]
    cameras = started.cameras({name: CameraSettings(source="pattern") for name in names})
    counts: Counter[str] = Counter()
    for _ in range(60):
        eventually(lambda: all(capture._slot is not None for capture in cameras))
        frame = cameras.take(PATIENCE_S)
        assert frame is not None
        assert frame.seq == counts[frame.camera]
        counts[frame.camera] += 1
    assert set(counts.values()) == {20}


def test_a_silent_camera_holds_up_nobody(started: Started) -> None:
    cameras = started.cameras(
        {"lost": CameraSettings(source="/dev/video987"), "there": CameraSettings(source="pattern")}
    )
    assert [frame.camera for _ in range(10) if (frame := cameras.take(PATIENCE_S))] == ["there"] * 10
    eventually(lambda: cameras.states["lost"].state == "degraded")


def test_exhausted_when_the_last_file_ended(clip: Clip, started: Started) -> None:
    photos = CameraSettings(source=f"dir://{PHOTOS}", loop=False)
    film = CameraSettings(source=f"file://{clip.path}", loop=False)
    cameras = started.cameras({"photos": photos, "clip": film})
    counts: Counter[str] = Counter()
    while not cameras.exhausted:
        if (frame := cameras.take(1.0)) is not None:
            counts[frame.camera] += 1
    assert counts["clip"] == clip.frames
    assert counts["photos"] == len(list(PHOTOS.glob("*.jpg")))
    assert cameras.dropped == 0
    assert {state.state for state in cameras.states.values()} == {"ended"}


def test_take_waits_no_longer_than_told(started: Started) -> None:
    cameras = started.cameras({"lost": CameraSettings(source="/dev/video987")})
    assert cameras.take(0.0) is None
    assert cameras.take(0.02) is None


def test_preparation_and_pace_of_all(started: Started) -> None:
    cameras = started.cameras({"a": CameraSettings(source="pattern"), "b": CameraSettings(source="pattern")})
    cameras.set_prepare(abs)
    newest: dict[str, object] = {}

    def prepared() -> bool:
        """Take a frame; one or two of each camera were under way before."""
        frame = cameras.take(PATIENCE_S)
        assert frame is not None
        newest[frame.camera] = frame.prepared_by
        return newest == {"a": abs, "b": abs}

    eventually(prepared)
    cameras.captures["a"].set_fps(0.001)
    eventually(lambda: [frame.camera for _ in range(6) if (frame := cameras.take(PATIENCE_S))] == ["b"] * 6)
