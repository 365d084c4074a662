import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from edged.camera import gstreamer
from edged.camera.gstreamer import PipelineSource
from edged.camera.pipeline import csi_pipeline, row_stride, split_pipeline
from edged.errors import CameraError
from tests.clips import Clip
from tests.waiting import PATIENCE_S

from .conftest import Started, eventually, take

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="needs gst-launch-1.0 (apt install gstreamer1.0-tools)"
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child may take long to start, which lists all plugins at the first use, and to end."""
    monkeypatch.setattr(gstreamer, "READ_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(gstreamer, "_CLOSE_TIMEOUT_S", PATIENCE_S)


def children() -> list[int]:
    """Processes whose parent is this one, dead or alive, that run gst-launch."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid() and name.startswith("gst-launch"):
            found.append(int(stat.parent.name))
    return found


def test_rows_are_padded_to_four_bytes() -> None:
    assert [row_stride(width) for width in (320, 321, 322, 323)] == [960, 964, 968, 972]


def test_csi_pipeline() -> None:
    words = csi_pipeline("1?width=1920&height=1080&fps=60")
    assert words[:2] == ["nvarguscamerasrc", "sensor-id=1"]
    assert "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1" in words
    assert words[-1] == "video/x-raw,format=BGRx"
    assert csi_pipeline("0") == csi_pipeline("0?width=1280&height=720&fps=30")


def test_no_shell_sees_the_pipeline() -> None:
    assert split_pipeline("a ; rm 'x y' $(id)") == ["a", ";", "rm", "x y", "$(id)"]


def test_without_gst_launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError, match=r"gst-launch-1.0 is not installed; .* apt install"):
        PipelineSource(["videotestsrc"], loop=True)


@needs_gstreamer
@pytest.mark.parametrize(("width", "height"), [(321, 241), (322, 2), (323, 100), (640, 480), (1, 1)])
def test_every_width_has_straight_edges(width: int, height: int) -> None:
    pipeline = (
        "videotestsrc num-buffers=3 pattern=solid-color foreground-color=0xff2040c0"
        f" ! video/x-raw,width={width},height={height},format=RGB"
    )
    source = PipelineSource(split_pipeline(pipeline), loop=False)
    try:
        images = [source.read() for _ in range(4)]
    finally:
        source.close()
        source.close()
    assert images[3] is None
    for image in images[:3]:
        assert image is not None
        assert image.shape == (height, width, 3)
        assert np.abs(image.astype(int) - (0x20, 0x40, 0xC0)).max() <= 3
    assert children() == []


@needs_gstreamer
def test_an_unknown_element_is_named() -> None:
    source = PipelineSource(["nosuchelement"], loop=True)
    with pytest.raises(CameraError, match=r'gst-launch-1.0 failed: .*no element "nosuchelement"'):
        source.read()
    source.close()
    assert children() == []


@needs_gstreamer
def test_an_error_while_running_is_told() -> None:
    source = PipelineSource(split_pipeline("filesrc location=/no/such/file ! decodebin"), loop=True)
    with pytest.raises(CameraError, match=r"ERROR: .*(?s:/no/such/file|filesrc|Resource not found)"):
        source.read()
    source.close()


@needs_gstreamer
def test_a_clip_through_gstreamer(clip: Clip) -> None:
    source = PipelineSource(split_pipeline(f"filesrc location={clip.path} ! decodebin"), loop=False)
    count = 0
    try:
        while (image := source.read()) is not None:
            assert image.shape == (clip.height, clip.width, 3)
            count += 1
            if count == 20:
                break
    finally:
        source.close()
    assert count == 20
    assert children() == []


@needs_gstreamer
def test_a_dying_child_is_degraded_and_started_again(started: Started) -> None:
    capture = started.capture("gst:videotestsrc is-live=true ! video/x-raw,width=321,height=241,framerate=30/1")
    eventually(lambda: capture.state.state == "running")
    (child,) = children()
    os.kill(child, signal.SIGKILL)
    # One that takes long to start on a slow machine may be given up and started once more.
    eventually(lambda: capture.state.state == "running" and started.states[2:])
    assert {state.state for _, state in started.states} == {"running", "degraded"}
    (error,) = {state.error for _, state in started.states if "was killed by signal 9" in (state.error or "")}
    assert error is not None
    assert error.startswith("camera 'main': source 'gst:videotestsrc")
    before = take(capture, PATIENCE_S)
    assert before is not None
    assert before.image.shape == (241, 321, 3)
    assert capture.stop(PATIENCE_S)
    assert children() == []


@needs_gstreamer
def test_a_child_that_ignores_the_pipe_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PipelineSource(split_pipeline("videotestsrc is-live=true"), loop=True)
    assert source.read() is not None
    (child,) = children()
    os.kill(child, signal.SIGSTOP)  # deaf to SIGINT
    monkeypatch.setattr(gstreamer, "_CLOSE_TIMEOUT_S", 0.2)
    source.close()
    assert children() == []


@needs_gstreamer
def test_frames_that_change_their_size_are_a_lost_camera() -> None:
    sizes = {8: "width=320,height=240", 200: "width=160,height=120"}
    parts = [
        f"videotestsrc is-live=true num-buffers={count} ! video/x-raw,framerate=30/1,{size} ! c."
        for count, size in sizes.items()
    ]
    source = PipelineSource(split_pipeline(f"{' '.join(parts)} concat name=c"), loop=True)

    def read_on() -> None:
        for _ in range(100):
            assert source.read() is not None

    with pytest.raises(CameraError, match=r"the pipeline changed the size of its frames"):
        read_on()
    source.close()
