from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.camera import open_source
from edged.errors import CameraError
from edged.settings import CameraSettings
from tests.waiting import PATIENCE_S

from .conftest import Started, eventually, take

PYTHON = "/usr/bin/python3"
"""The system's: gi comes with the distribution only."""
PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@pytest.fixture(scope="module", autouse=True)
def _needs_server() -> None:
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", PROBE], capture_output=True, check=False).returncode:
        pytest.skip("needs an RTSP server (apt install gir1.2-gst-rtsp-server-1.0 python3-gi)")


@contextmanager
def server(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    script = Path(__file__).with_name("rtsp_server.py")
    with subprocess.Popen([PYTHON, str(script), str(port)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_stream_lost_and_found(started: Started) -> None:
    with server() as (_, port):
        capture = started.capture(f"rtsp://127.0.0.1:{port}/test")
        frame = take(capture, PATIENCE_S)
        assert frame is not None
        assert frame.image.shape == (240, 320, 3)
        red, green, blue = frame.image.reshape(-1, 3).mean(axis=0)
        assert red > 200
        assert max(green, blue) < 60
    eventually(lambda: capture.state.state == "degraded")
    error = capture.state.error
    assert error is not None
    assert error.startswith(f"camera 'main': source 'rtsp://127.0.0.1:{port}/test': ")
    assert take(capture, 0) is None or take(capture, 0) is None
    with server(port):
        eventually(lambda: capture.state.state == "running")
        again = take(capture, PATIENCE_S)
        assert again is not None
        assert again.seq > frame.seq
        assert capture.stop(PATIENCE_S)


def test_nobody_there_and_wrong_path() -> None:
    with server() as (_, port):
        with pytest.raises(CameraError, match=r"rtsp://127.0.0.1:\d+/wrong': no stream within 5 s; check the host"):
            open_source("main", CameraSettings(source=f"rtsp://127.0.0.1:{port}/wrong"))
        free = port
    with pytest.raises(CameraError, match="no stream within 5 s"):
        open_source("main", CameraSettings(source=f"rtsp://127.0.0.1:{free}/test"))


def test_a_silent_server_does_not_keep_the_process(started: Started) -> None:
    with server() as (process, port):
        capture = started.capture(f"rtsp://127.0.0.1:{port}/test")
        assert take(capture, PATIENCE_S) is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            capture.stop(0.2)  # may be in the middle of a read, which times out by itself
            eventually(lambda: capture.stop(0.1))
        finally:
            os.kill(process.pid, signal.SIGCONT)
