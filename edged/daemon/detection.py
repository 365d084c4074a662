"""Finds the regions of a frame by a detector, where `[cameras.NAME] regions` says so; on the main thread."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.daemon.loop import GIVE_UP_FRAMES
from edged.errors import ConfigError, ModelError
from edged.regions import MOST_TRACKS, Tracker, overlap
from edged.vision.detector import Detector
from edged.vision.detector_file import DetectorFile, Normalization

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.settings import Settings
    from edged.store import Detectors
    from edged.types import Box, Frame

log = logging.getLogger(__name__)

_MISSES = 1
"""In so many frames in a row a detector may miss a thing that has no name yet: what is barely sure comes and goes."""
_SAME = 0.7
"""IoU from which two boxes are one thing: of a thing that may be of two classes there are two."""
_GIVE_UP_NS = 5_000_000_000
"""So long, too, it must have failed: a folder of photos may give a hundred frames in a moment."""


class Detection:
    """One camera's. For the main thread.

    Without a working detector the camera's frames are classified whole: a damaged file, or a network that fails, must
    not take the device down.

    Args:
        camera: Its name.
        detector: Finds boxes; several cameras may share it. Or why there is none.
        score_threshold: What is less sure is no region; may be changed at any time.

    Attributes:
        trouble: Why there is no working detector; None: there is one.
        changed: Called when it is given up.
    """

    def __init__(self, camera: str, detector: Detector | ModelError, score_threshold: float) -> None:
        self.score_threshold = score_threshold
        self.trouble: str | None = None
        self.changed: Callable[[], object] = lambda: None
        self._camera = camera
        self._detector: Detector | None = None
        self._tracker = Tracker(misses=_MISSES)
        self._failures = 0
        self._failing_since_ns = 0
        if isinstance(detector, ModelError):
            self._give_up(detector)
        else:
            self._detector = detector

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with its regions and with what finding them took; without a detector it has none."""
        if self._detector is None:
            return replace(frame, regions=None)
        begin_ns = time.monotonic_ns()
        boxes = self._boxes(frame, self._detector)
        if self.trouble is not None:  # given up just now: with no region in this frame, all that was followed ends
            return replace(frame, regions=())
        regions = self._tracker.update(boxes, frame.captured_ns / 1e9)
        end_ns = time.monotonic_ns()
        if (tracer := tracing.active) is not None:
            tracer.span("detect", "detect", begin_ns, end_ns, camera=frame.camera, seq=frame.seq)
        return replace(frame, regions=regions, detect_ms=(end_ns - begin_ns) / 1e6)

    def _boxes(self, frame: Frame, detector: Detector) -> list[Box]:
        try:
            found = detector.detect(frame.image, self.score_threshold)
        except ModelError as error:
            self._failures += 1
            if self._failures == 1:
                self._failing_since_ns = frame.captured_ns
                log.error("camera %r: the detector fails: %s", frame.camera, error)
            if self._failures >= GIVE_UP_FRAMES and frame.captured_ns - self._failing_since_ns >= _GIVE_UP_NS:
                self._give_up(error)
                self.changed()
            return []
        self._failures = 0
        boxes: list[Box] = []
        for detection in found:
            if all(overlap(detection.box, surer) < _SAME for surer in boxes):
                boxes.append(detection.box)
            if len(boxes) == MOST_TRACKS:
                break
        return boxes

    def _give_up(self, error: ModelError) -> None:
        self._detector = None
        self.trouble = f"camera {self._camera}: classified whole, there is no working detector: {error}"
        log.error("%s", self.trouble)


def open_detections(settings: Settings, detectors: Detectors) -> dict[str, Detection]:
    """Return for each camera whose regions a detector finds what does; cameras with the same one share it.

    Raises:
        ConfigError: There is no such detector, or it is a classifier.
    """
    opened: dict[str, Detector | ModelError] = {}
    found = {}
    for camera, wanted in settings.cameras.items():
        if (name := wanted.detector) is None:
            continue
        if name not in opened:
            try:
                opened[name] = _open(name, settings, detectors)
            except ModelError as error:
                if name not in detectors.names():
                    key = f"cameras.{camera}.regions"
                    raise ConfigError(f"{key} = {wanted.regions!r}: {error}", key=key) from error
                opened[name] = error
        found[camera] = Detection(camera, opened[name], wanted.score_threshold)
    return found


def _open(name: str, settings: Settings, detectors: Detectors) -> Detector:
    installed = detectors.find(name)
    said = installed.manifest
    try:
        detector = Detector(
            installed.read_model(),
            runtime=settings.model.engine,
            threads=settings.model.threads,
            said=DetectorFile(said.outputs, Normalization(said.input.mean, said.input.std)),
        )
    except ModelError as error:
        raise ModelError(f"{installed.path}: {error}") from error
    log.info("detector %s (%s): %d×%d, on %s", name, installed.id, detector.width, detector.height, detector.runtime)
    return detector
