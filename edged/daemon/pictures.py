"""`picture/<camera>`: now and then what a camera sees, retained and small, for a page that shows it."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edged.codec import encode_jpeg
from edged.errors import EdgedError
from edged.logs import Rarely

if TYPE_CHECKING:
    from edged.contract.messages import Result
    from edged.daemon.camera_topics import CameraTopics
    from edged.types import Frame

log = logging.getLogger(__name__)

_LONGEST = 640
_QUALITY = 80
_WAITING = 4
"""Frames that may wait to be encoded; a full HD frame is 6 MB."""
_NICENESS = 10


class Pictures:
    """Publishes a frame of each camera whose label has changed since its last picture, at a slow pace.

    Args:
        topics: `picture/<camera>`.
        every_s: Between two pictures of a camera, at least.
    """

    def __init__(self, topics: CameraTopics, every_s: float) -> None:
        self._topics = topics
        self._every_s = every_s
        self._last: dict[str, tuple[str, float]] = {}
        self._failures = Rarely(log)
        self._queue: queue.Queue[Frame | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def start(self) -> None:
        """Start the thread that encodes."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End it, waiting at most `timeout_s`."""
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)

    def __call__(self, frame: Frame, result: Result) -> None:
        """Take a classified frame; on the publisher's thread, takes microseconds."""
        camera, now = frame.camera, time.monotonic()
        if camera not in self._topics:
            self._last.pop(camera, None)
            return
        label, at = self._last.get(camera, (None, now - self._every_s))
        if result.label != label and now - at >= self._every_s:
            with suppress(queue.Full):  # the next frame will do
                self._queue.put_nowait(frame)
                self._last[camera] = (result.label, now)

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)  # Linux: of this thread alone
            while (frame := self._queue.get()) is not None:
                try:
                    self._topics.publish(frame.camera, encode_jpeg(frame.image, _QUALITY, longest=_LONGEST))
                except EdgedError as error:
                    self._failures.log("camera %s: no picture: %s", frame.camera, error)
        except Exception:  # the top of a thread
            log.exception("pictures have failed; frames go on without them")
