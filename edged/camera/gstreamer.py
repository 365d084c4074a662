"""GStreamer pipelines, through a gst-launch-1.0 child that writes raw RGB into a pipe.

OpenCV's wheels come without GStreamer, and so does a virtual environment; the command line tool is on every Jetson.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING

import numpy as np

from edged.camera.pipeline import row_stride, unpad
from edged.errors import CameraError

if TYPE_CHECKING:
    from edged.types import Image

READ_TIMEOUT_S = 10.0
_POLL_MS = 200
_CLOSE_TIMEOUT_S = 1.0
_PIPE_BYTES = 1 << 20  # the most that an unprivileged process may ask for by default
_SINK = "edged-frames"
_TAIL = f"! videoconvert ! video/x-raw,format=RGB ! fdsink name={_SINK}".split()
_CAPS = re.compile(rf"GstFdSink:{_SINK}\.GstPad:sink: caps = .*\bwidth=\(int\)(\d+).*\bheight=\(int\)(\d+)")
_COMPLAINT = re.compile(r"error|erroneous|critical|fail|no cameras", re.IGNORECASE)
_LINE_BYTES = 4096

_log = logging.getLogger(__name__)


class PipelineSource:
    """A gst-launch-1.0 child whose pipeline ends in raw RGB on a pipe.

    It counts as live, so that frames nobody takes in time are dropped; a pipeline that reads a file runs as fast as it
    can unless it ends in `identity sync=true`. The child's own output tells the size of the frames (`-v` prints the
    sink's caps) and why it died.

    Args:
        pipeline: Arguments of gst-launch-1.0 that end in an element with raw video.
        loop: Whether a pipeline that comes to its end is a lost camera, to be started again, or has ended.

    Raises:
        CameraError: gst-launch-1.0 is not installed or cannot be started.
    """

    live = True

    def __init__(self, pipeline: list[str], loop: bool) -> None:
        program = shutil.which("gst-launch-1.0")
        if program is None:
            raise CameraError("gst-launch-1.0 is not installed; on Debian or Ubuntu: apt install gstreamer1.0-tools")
        self._loop = loop
        self._size: tuple[int, int] | None = None
        self._first_size: tuple[int, int] | None = None
        self._said: deque[str] = deque(maxlen=30)
        self._interrupted = False
        self._closed = False
        self._frames, sink = os.pipe()
        try:
            self._child = subprocess.Popen(
                # Not -q, which silences -v as well.
                [program, "-v", *pipeline, *_TAIL, f"fd={sink}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(sink,),
                env={**os.environ, "LC_ALL": "C"},  # its messages are searched below
                start_new_session=True,  # Ctrl-C is ours to handle; and its process group can be killed whole
            )
        except OSError as error:
            os.close(self._frames)
            raise CameraError(f"{program} cannot be started: {error.strerror}") from error
        finally:
            os.close(sink)
        try:
            fcntl.fcntl(self._frames, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            _log.debug("the pipe keeps its default size")  # the user's pipe quota is used up; only slower
        os.set_blocking(self._frames, False)
        self._poll = select.poll()
        self._poll.register(self._frames, select.POLLIN)
        assert self._child.stdout is not None  # for mypy: stdout=PIPE
        self._listener = threading.Thread(
            target=self._listen, args=(self._child.stdout,), name="gst-launch-output", daemon=True
        )
        self._listener.start()

    def _listen(self, output: IO[bytes]) -> None:
        """Drain the child's words until it ends: the size of the frames, and whatever may explain its death."""
        with output:
            while raw := output.readline(_LINE_BYTES):
                line = raw.decode(errors="replace").strip().replace("\\", "")  # GStreamer 1.14 escapes caps
                if found := _CAPS.search(line):
                    self._size = int(found[1]), int(found[2])
                elif _COMPLAINT.search(line) and not line.startswith("/Gst"):
                    self._said.append(line)

    def read(self) -> Image | None:
        """Return the next frame; None when a pipeline that does not loop has come to its end.

        Raises:
            CameraError: The child died (its own words are the text), was silent, or changed the size of the frames.
        """
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while self._size is None:  # nothing can be in the pipe before
            if not self._wait(deadline_s):
                return None
            if self._size is None:
                self._check_silence(deadline_s)
                time.sleep(0.005)  # the first frame is there already, the line that tells its size not yet
        size = self._size
        if self._first_size not in (None, size):  # frames of both sizes may be in the pipe, with nothing between them
            raise CameraError("the pipeline changed the size of its frames")
        width, height = size
        rows = np.empty((height, row_stride(width)), np.uint8)
        view = rows.data.cast("B")
        filled = 0
        while filled < len(view):
            if not self._wait(deadline_s):
                return None
            try:
                count = os.readv(self._frames, [view[filled:]])
            except BlockingIOError:
                continue
            if count == 0:
                self._check_end()
                return None
            filled += count
        self._first_size = size
        return unpad(rows, width)

    def _wait(self, deadline_s: float) -> bool:
        """Wait for bytes; False when the pipeline has come to its proper end."""
        while not self._interrupted:
            events = self._poll.poll(_POLL_MS)
            if events and events[0][1] & select.POLLIN:
                return True
            if events:  # the write end is closed and the pipe is empty
                self._check_end()
                return False
            self._check_silence(deadline_s)
        raise CameraError("interrupted")

    def _check_silence(self, deadline_s: float) -> None:
        if time.monotonic() > deadline_s:
            raise CameraError(f"no frame for {READ_TIMEOUT_S:g} s{self._words()}")

    def _check_end(self) -> None:
        """Return if the pipeline came to a proper end that is wanted, else raise what the child said."""
        code = self._exit_code()
        self._listener.join(_CLOSE_TIMEOUT_S)
        if code == 0 and not self._loop and self._size is not None:
            return
        if code == 0:
            raise CameraError(f"the pipeline came to its end{self._words()}")
        how = f"was killed by signal {-code}" if code is not None and code < 0 else "failed"
        raise CameraError(f"gst-launch-1.0 {how}{self._words()}")

    def _exit_code(self) -> int | None:
        """Wait a while for the child to end; minus the signal that killed it, None if it lives on.

        It stays a zombie until `close`, so that its process group's number cannot come to mean another one.
        """
        deadline_s = time.monotonic() + _CLOSE_TIMEOUT_S
        while time.monotonic() < deadline_s:
            status = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if status is not None:
                return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
            time.sleep(0.005)
        return None

    def _words(self) -> str:
        """What the child complained of: its first ERROR, else the first complaint of any kind, or nothing."""
        said = list(self._said)
        first = next((line for line in said if line.startswith("ERROR")), said[0] if said else "")
        return f": {first}" if first else ""

    def interrupt(self) -> None:
        """Make a blocked `read` fail within a fraction of a second."""
        self._interrupted = True

    def close(self) -> None:
        """End the child and everything in its process group, and reap it. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._interrupted = True
        os.close(self._frames)
        # SIGINT first: nvargus-daemon keeps a sensor busy whose client was killed outright.
        self._signal(signal.SIGINT)
        self._exit_code()
        self._signal(signal.SIGKILL)  # the child that is deaf, and what it may have left behind in its group
        self._child.wait()
        self._listener.join(_CLOSE_TIMEOUT_S)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)
