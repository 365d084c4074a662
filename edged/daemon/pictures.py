"""`picture/<camera>`: now and then what a camera sees, retained and small, for a page that shows it."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2

from edged.codec import encode_jpeg
from edged.errors import EdgedError
from edged.logs import Rarely

if TYPE_CHECKING:
    from edged.daemon.camera_topics import CameraTopics
    from edged.daemon.publisher import Scene
    from edged.types import Image

log = logging.getLogger(__name__)

_LONGEST = 640
_QUALITY = 80
_WAITING = 4
"""Frames that may wait to be encoded; a full HD frame is 6 MB."""
_NICENESS = 10
_COLOUR = (255, 210, 0)
_LETTERS = 32
"""Of a label, so many are written above its box."""


class Pictures:
    """Publishes a frame of each camera whose labels have changed since its last picture, at a slow pace; with boxes
    around what moves in it.

    Args:
        topics: `picture/<camera>`.
        every_s: Between two pictures of a camera, at least.
    """

    def __init__(self, topics: CameraTopics, every_s: float) -> None:
        self._topics = topics
        self._every_s = every_s
        self._last: dict[str, tuple[list[tuple[str | None, str]] | None, float]] = {}
        self._failures = Rarely(log)
        self._queue: queue.Queue[Scene | None] = queue.Queue(_WAITING)
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

    def __call__(self, scene: Scene) -> None:
        """Take a classified frame; on the publisher's thread, takes microseconds."""
        camera, now = scene.frame.camera, time.monotonic()
        if camera not in self._topics:
            self._last.pop(camera, None)
            return
        shown = [(result.track, result.label) for result in scene.results]
        before, at = self._last.get(camera, (None, now - self._every_s))
        if shown != before and now - at >= self._every_s:
            with suppress(queue.Full):  # the next frame will do
                self._queue.put_nowait(scene)
                self._last[camera] = (shown, now)

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)  # Linux: of this thread alone
            while (scene := self._queue.get()) is not None:
                camera = scene.frame.camera
                try:
                    self._topics.publish(camera, encode_jpeg(draw_boxes(scene), _QUALITY, longest=_LONGEST))
                except EdgedError as error:
                    self._failures.log("camera %s: no picture: %s", camera, error)
        except Exception:  # the top of a thread
            log.exception("pictures have failed; frames go on without them")


def draw_boxes(scene: Scene) -> Image:
    """Return the frame with a box around each of its regions and the label above it; as it is where it has none."""
    boxes = [(result.box, result.label) for result in scene.results if result.box is not None]
    if not boxes:
        return scene.frame.image
    image = scene.frame.image.copy()
    rows, columns = image.shape[:2]
    unit = max(1, round(max(rows, columns) / 320))  # as thick in every picture, whose longest side is the same
    for (x, y, width, height), label in reversed(boxes):  # the newest on top
        left, top = round(x * columns), round(y * rows)
        right, bottom = round((x + width) * columns) - 1, round((y + height) * rows) - 1
        cv2.rectangle(image, (left, top), (right, bottom), _COLOUR, unit)
        size = unit * 0.3
        # OpenCV's own letters are those of ASCII.
        text = label.encode("ascii", "replace").decode()[:_LETTERS]
        (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, unit)
        across, above = min(left, max(0, columns - wide - 2 * unit)), max(top, tall + 4 * unit)
        cv2.rectangle(image, (across, above - tall - 4 * unit), (across + wide + 2 * unit, above), _COLOUR, cv2.FILLED)
        place = (across + unit, above - 2 * unit)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), max(1, unit // 2), cv2.LINE_AA)
    return image
