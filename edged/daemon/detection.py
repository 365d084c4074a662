"""Finds the regions of a frame by a detector, where `[cameras.NAME] regions` says so; on the main thread."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.daemon.loop import GIVE_UP_FRAMES, PROBATION_FRAMES
from edged.daemon.proof import Proof, keep_trial
from edged.errors import ConfigError, ModelError
from edged.regions import MOST_TRACKS, Tracker, overlap
from edged.vision.detector import Detector
from edged.vision.detector_file import DetectorFile, Normalization

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.settings import Settings
    from edged.store import Detectors, InstalledDetector
    from edged.types import Box, Frame

log = logging.getLogger(__name__)

_MISSES = 1
"""In so many frames in a row a detector may miss a thing that has no name yet: what is barely sure comes and goes."""
_SAME = 0.7
"""IoU from which two boxes are one thing: of a thing that may be of two classes there are two."""
_GIVE_UP_NS = 5_000_000_000
"""So long, too, it must have failed: a folder of photos may give a hundred frames in a moment."""


class OnTrial:
    """Follows what an installed detector does since the daemon has begun to use it. For the main thread.

    Args:
        detectors: Keep its trial.
        installed: The detector.
    """

    def __init__(self, detectors: Detectors, installed: InstalledDetector) -> None:
        self._detectors = detectors
        self._installed = installed
        self._what = f"detector {installed.name} ({installed.id})"
        self._left = PROBATION_FRAMES
        self._proof: Proof | None = None

    def looked(self) -> None:
        """Count a live frame."""
        self._left -= 1
        if self._left == 0:
            self._proof = Proof(
                self._what,
                lambda: self._detectors.proved(self._installed),
                lambda: self._detectors.settled(self._installed),
            )

    def end(self) -> None:
        """Note that nothing is to be held against it."""
        if self._proof is not None:
            self._proof.cancel()
        keep_trial(self._what, lambda: self._detectors.paused(self._installed))


class Detection:
    """One camera's. For the main thread.

    Without a working detector the camera's frames are classified whole: a damaged file, or a network that fails, must
    not take the device down.

    Args:
        camera: Its name.
        detector: Finds boxes; several cameras may share it. Or why there is none.
        score_threshold: What is less sure is no region; may be changed at any time.
        trial: Is told of each frame that the detector has looked at; shared as the detector is.

    Attributes:
        trouble: Why there is no working detector; None: there is one.
        changed: Called when it is given up.
    """

    def __init__(
        self, camera: str, detector: Detector | ModelError, score_threshold: float, trial: OnTrial | None = None
    ) -> None:
        self.score_threshold = score_threshold
        self.trouble: str | None = None
        self.changed: Callable[[], object] = lambda: None
        self._camera = camera
        self._trial = trial
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

    def end(self) -> None:
        """Say that the daemon ends in order, for the sake of a detector that is on trial."""
        if self._trial is not None:
            self._trial.end()

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
        if self._trial is not None:
            self._trial.looked()
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
    opened: dict[str, tuple[Detector | ModelError, OnTrial | None]] = {}
    found: dict[str, Detection] = {}
    for camera, wanted in settings.cameras.items():
        if (name := wanted.detector) is None:
            continue
        if name not in opened:
            try:
                opened[name] = _open(name, settings, detectors)
            except ModelError as error:
                if name not in detectors.names():
                    for detection in found.values():
                        detection.end()  # the configuration is wrong, and no detector
                    key = f"cameras.{camera}.regions"
                    raise ConfigError(f"{key} = {wanted.regions!r}: {error}", key=key) from error
                opened[name] = error, None
        detector, trial = opened[name]
        found[camera] = Detection(camera, detector, wanted.score_threshold, trial)
    return found


def _open(name: str, settings: Settings, detectors: Detectors) -> tuple[Detector, OnTrial]:
    installed = detectors.begin(name)  # before it is opened: what it does to this process may be the last
    said, trial = installed.manifest, OnTrial(detectors, installed)
    try:
        detector = Detector(
            installed.read_model(),
            runtime=settings.model.engine,
            threads=settings.model.threads,
            said=DetectorFile(said.outputs, Normalization(said.input.mean, said.input.std)),
        )
    except ModelError as error:
        trial.end()  # it is told so: that is no end of the daemon
        raise ModelError(f"{installed.path}: {error}") from error
    log.info("detector %s (%s): %d×%d, on %s", name, installed.id, detector.width, detector.height, detector.runtime)
    return detector, trial
