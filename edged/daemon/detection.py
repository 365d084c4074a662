"""Finds the regions of a frame by a detector, where `[cameras.NAME] regions` says so; on the main thread."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.daemon.loop import GIVE_UP_FRAMES
from edged.errors import ConfigError, ModelError
from edged.regions import Tracker
from edged.vision.detector import Detector
from edged.vision.detector_file import DetectorFile, Normalization

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Detectors
    from edged.types import Box, Frame

log = logging.getLogger(__name__)

_MOST = 64
"""Of what is found in a frame, only so many of the surest are followed."""


class Detection:
    """One camera's. For the main thread.

    Args:
        detector: Finds boxes; several cameras may share it.
        score_threshold: What is less sure is no region; may be changed at any time.
    """

    def __init__(self, detector: Detector, score_threshold: float) -> None:
        self.score_threshold = score_threshold
        self._detector = detector
        self._tracker = Tracker()
        self._failures = 0

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with its regions, and with what finding them took.

        Raises:
            ModelError: The detector has failed for so many frames in a row that it is given up.
        """
        begin_ns = time.monotonic_ns()
        regions = self._tracker.update(self._boxes(frame), frame.captured_ns / 1e9)
        end_ns = time.monotonic_ns()
        if (tracer := tracing.active) is not None:
            tracer.span("detect", "detect", begin_ns, end_ns, camera=frame.camera, seq=frame.seq)
        return replace(frame, regions=regions, detect_ms=(end_ns - begin_ns) / 1e6)

    def _boxes(self, frame: Frame) -> list[Box]:
        try:
            found = self._detector.detect(frame.image, self.score_threshold)
        except ModelError as error:
            self._failures += 1
            if self._failures == 1:
                log.error("camera %r: the detector fails: %s", frame.camera, error)
            if self._failures >= GIVE_UP_FRAMES:
                raise
            return []
        self._failures = 0
        return [detection.box for detection in found[:_MOST]]


def open_detections(settings: Settings, detectors: Detectors) -> dict[str, Detection]:
    """Return for each camera whose regions a detector finds what does; cameras with the same one share it.

    Raises:
        ConfigError: There is no such detector, it is a classifier, or it is damaged.
    """
    opened: dict[str, Detector] = {}
    found = {}
    for camera, wanted in settings.cameras.items():
        if (name := wanted.detector) is None:
            continue
        key = f"cameras.{camera}.regions"
        try:
            if name not in opened:
                opened[name] = _open(name, settings, detectors)
        except ModelError as error:
            raise ConfigError(f"{key} = {wanted.regions!r}: {error}", key=key) from error
        found[camera] = Detection(opened[name], wanted.score_threshold)
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
