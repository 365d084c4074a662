"""OpenCV's video input: clips and RTSP streams (FFmpeg inside), V4L2 devices. BGR becomes RGB here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2

from edged.errors import CameraError

if TYPE_CHECKING:
    from edged.types import Image

OPEN_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 5000
# One decoding thread: a stream is not delayed by a frame per thread, and the other cores belong to the network.
_ONE_THREAD = [cv2.CAP_PROP_N_THREADS, 1]

# Read when a stream is opened. TCP: a lost UDP packet would smear half a picture. FFmpeg and OpenCV write to stderr
# by themselves, at every retry of a lost camera; what matters of it becomes a CameraError.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Newer versions moved it.
_logging: Any = cv2 if hasattr(cv2, "setLogLevel") else getattr(cv2.utils, "logging")  # noqa: B009 - unknown to the older version's types
_logging.setLogLevel(0)


class _VideoSource:
    """What the three kinds share: a VideoCapture that delivers BGR."""

    live = True

    def __init__(self, video: cv2.VideoCapture) -> None:
        self._video = video

    def _next(self) -> Image | None:
        """Read, decode and turn to RGB; None when the library has no further frame."""
        try:
            delivered, bgr = self._video.read()
        except cv2.error as error:
            raise CameraError(f"reading failed: {' '.join(str(error).split())}") from error
        if not delivered or bgr is None:
            return None
        # In place: a second buffer per frame costs more than the swap of two bytes.
        return cast("Image", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr))

    def interrupt(self) -> None:
        """Releasing a VideoCapture during a read crashes; the read's own timeout must do."""

    def close(self) -> None:
        """Release the device, connection or file."""
        self._video.release()


class ClipSource(_VideoSource):
    """A video file.

    Args:
        path: The file.
        loop: Start again after the last frame.

    Raises:
        CameraError: Missing, or no video that FFmpeg reads.
    """

    live = False

    def __init__(self, path: Path, loop: bool) -> None:
        if not path.is_file():
            what = "is a folder; write dir:// for a folder of photos" if path.is_dir() else "does not exist"
            raise CameraError(f"{path} {what}")
        if not os.access(path, os.R_OK):
            raise CameraError(f"{path} must be readable by this user")
        self._path = path.absolute()  # a relative name such as "concat:…" would mean something else to FFmpeg
        self._loop = loop
        self._frames = 0
        super().__init__(self._open())

    def _open(self) -> cv2.VideoCapture:
        video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, _ONE_THREAD)
        if not video.isOpened():
            raise CameraError(f"{self._path} is not a video that FFmpeg can read, or it was cut off")
        return video

    def read(self) -> Image | None:
        """Return the next frame; after the last one the first again, or None where `loop` is off."""
        image = self._next()
        if image is None and self._frames == 0:
            raise CameraError(f"{self._path} contains no frame that can be decoded")
        if image is None and self._loop:
            self._video.release()
            self._video = self._open()  # seeking to 0 is not exact in every container
            self._frames = 0
            return self.read()
        self._frames += image is not None
        return image


class StreamSource(_VideoSource):
    """An RTSP stream, over TCP.

    Raises:
        CameraError: No connection, wrong path or password, or nothing playable, within the open timeout.
    """

    def __init__(self, url: str) -> None:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        super().__init__(cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts + _ONE_THREAD))
        if not self._video.isOpened():
            raise CameraError(
                f"no stream within {OPEN_TIMEOUT_MS / 1000:g} s; check the host, port, path, user and password, "
                "e.g. with ffprobe -rtsp_transport tcp URL"
            )

    def read(self) -> Image | None:
        """Return the next frame.

        Raises:
            CameraError: The server went away or was silent for the read timeout.
        """
        image = self._next()
        if image is None:
            raise CameraError(f"the stream ended or was silent for {READ_TIMEOUT_MS / 1000:g} s")
        return image


class DeviceSource(_VideoSource):
    """A V4L2 device such as a USB camera.

    Raises:
        CameraError: Missing, not permitted, busy, or not a camera.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            found = ", ".join(sorted(str(device) for device in Path("/dev").glob("video*"))) or "none"
            raise CameraError(f"{path} does not exist (video devices here: {found}); is the camera plugged in?")
        if not path.is_char_device():
            raise CameraError(f"{path} is not a video device")
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraError(f"no permission for {path}; add this user to the group 'video'")
        super().__init__(cv2.VideoCapture(str(path), cv2.CAP_V4L2))
        self._path = path
        if not self._video.isOpened():
            raise CameraError(f"{path} cannot be opened as a camera; it may be in use by another program")
        self._video.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest of a queue

    def read(self) -> Image | None:
        """Return the next frame.

        Raises:
            CameraError: The device was unplugged or stopped delivering.
        """
        image = self._next()
        if image is None:
            raise CameraError(f"{self._path} stopped delivering frames; was it unplugged?")
        return image
