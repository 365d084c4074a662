"""The frame loop: take, invoke, hand over; model swaps happen between two frames."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edged import tracing
from edged.errors import ModelError
from edged.regions import Turns, crop

if TYPE_CHECKING:
    from edged.camera import Cameras
    from edged.daemon.engine import Engine
    from edged.types import Frame
    from edged.vision.network import Outputs

log = logging.getLogger(__name__)

TAKE_TIMEOUT_S = 0.25
"""How long the loop waits for a frame before it looks at the stop flag and the watchdog again."""
PROBATION_FRAMES = 10
"""A new model that fails within so many invocations is taken back."""
GIVE_UP_FRAMES = 100
"""So many failed invocations in a row without a model to go back to end the process."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A new engine and whom to tell.

    Attributes:
        engine: Takes over with the next frame.
        on_failure: Called on the main thread with the error when it fails on probation, after the old one is back.
        on_proof: Called on the main thread when it has answered all frames of its probation.
    """

    engine: Engine
    on_failure: Callable[[ModelError], None]
    on_proof: Callable[[], None] = lambda: None


class FrameLoop:
    """Runs on the main thread.

    Args:
        cameras: Where frames come from.
        engine: The first one.
        sink: Takes each classified frame; must return at once.
        on_step: Called after each step, with whether a frame was classified.
        finish: Called after the last region of a frame that is classified by regions, with the whole frame.
        regions_max: Camera → how many regions of one frame are classified, where its frames have regions.
        detections: Camera → what finds the regions of a frame that is taken, where a detector does; it gives a frame
            none where that does not work.
    """

    def __init__(
        self,
        cameras: Cameras,
        engine: Engine,
        sink: Callable[[Frame, Outputs, Engine], None],
        on_step: Callable[[bool], None],
        *,
        finish: Callable[[Frame], None] = lambda _: None,
        regions_max: Mapping[str, int] = MappingProxyType({}),
        detections: Mapping[str, Callable[[Frame], Frame]] = MappingProxyType({}),
    ) -> None:
        self.engine = engine
        self._cameras = cameras
        self._sink = sink
        self._on_step = on_step
        self._finish = finish
        self._regions_max = regions_max
        self._detections = detections
        self._turns = Turns()
        self._lock = threading.Lock()
        self._pending: Swap | None = None
        self._probation: tuple[Engine | None, Swap] | None = None
        self._probation_left = 0
        self._failures = 0

    def swap(self, swap: Swap) -> None:
        """Let another engine take over with the next frame; thread-safe, returns at once."""
        self._cameras.set_prepare(swap.engine.prepare)  # the next captured frame comes prepared for it
        with self._lock:
            self._pending = swap

    @property
    def answered_on_probation(self) -> int:
        """How many frames the engine that took over last has answered, up to the end of its probation."""
        return PROBATION_FRAMES - self._probation_left

    def watch(self, on_proof: Callable[[], None]) -> None:
        """Call `on_proof`, on the main thread, when the engine of the start has answered as many frames as a new one.

        For the main thread. There is nothing to go back to where it fails.
        """
        self._probation, self._probation_left = (None, Swap(self.engine, lambda _: None, on_proof)), PROBATION_FRAMES

    def step(self) -> None:
        """Classify the next frame, if there is one in time.

        Raises:
            ModelError: The network fails again and again and there is none to go back to.
        """
        frame = self._cameras.take(TAKE_TIMEOUT_S)
        if self._pending is not None:
            self._begin_swap()
        if frame is None:
            self._on_step(False)
        else:
            self._on_step(self._classify(frame) if frame.regions is None else self._classify_regions(frame))

    def _classify_regions(self, frame: Frame) -> bool:
        """Classify what a frame's time allows, at least one region; return whether the network has answered all.

        A frame in which nothing is to be classified is done with that.
        """
        interval_s = self._cameras.interval_s(frame.camera)
        end_s = math.inf if interval_s is None else time.monotonic() + interval_s
        answered = True
        if (detect := self._detections.get(frame.camera)) is not None:
            frame = detect(frame)
            if frame.regions is None:
                return self._classify(frame)
        chosen = self._turns.order(frame.camera, frame.regions or ())[: self._regions_max[frame.camera]]
        if not chosen and self._probation is not None:
            # A network on trial has to answer also where nothing moves: until it has, a power cut would take it back.
            answered = self._classify(frame, tell=False)
        for region in chosen:
            # A copy: who keeps the crop of a thing must not keep the whole frame for it.
            image = np.ascontiguousarray(crop(frame.image, region.box))
            answered = self._classify(replace(frame, image=image, region=region)) and answered
            self._turns.take(frame.camera, region)
            if time.monotonic() >= end_s:
                break
        self._finish(frame)
        return answered

    def _classify(self, frame: Frame, *, tell: bool = True) -> bool:
        """Return whether the network has answered; `tell`: hand over what it says."""
        engine = self.engine
        prepared = frame.prepared
        if prepared is None or frame.prepared_by != engine.prepare:
            begin = time.perf_counter_ns()
            prepared = engine.prepare(frame.image) if frame.region is None else engine.prepare_region(frame.image)
            preprocess_ms = (time.perf_counter_ns() - begin) / 1e6
            if frame.region is not None:
                preprocess_ms += frame.preprocess_ms  # finding the regions took that
            frame = replace(frame, prepared=prepared, preprocess_ms=preprocess_ms, prepared_by=engine.prepare)
        begin_ns = time.monotonic_ns()
        try:
            outputs = engine.invoke(prepared, frame.image)
        except ModelError as error:
            return self._failed(frame, error, tell=tell)
        if (tracer := tracing.active) is not None:
            tracer.span("invoke", "invoke", begin_ns, time.monotonic_ns(), camera=frame.camera, seq=frame.seq)
        self._failures = 0
        if tell:
            self._sink(frame, outputs, engine)
        if self._probation is not None:
            self._probation_left -= 1
            if self._probation_left <= 0:
                (_, swap), self._probation = self._probation, None
                swap.on_proof()
        return True

    def _begin_swap(self) -> None:
        with self._lock:
            swap, self._pending = self._pending, None
        if swap is None:
            return
        self._probation, self._probation_left = (self.engine, swap), PROBATION_FRAMES
        self.engine = swap.engine
        bundle = swap.engine.bundle
        log.info("model %s (%s) answers from now on", bundle.name, bundle.id, extra={"MODEL": bundle.id})

    def _failed(self, frame: Frame, error: ModelError, *, tell: bool) -> bool:
        """Go back to the old engine while the new one is on probation, and classify the frame with that one."""
        before, swap = self._probation or (None, None)
        if before is not None and swap is not None:
            self.engine, self._probation = before, None
            self._cameras.set_prepare(self.engine.prepare)
            failed = swap.engine.bundle.id
            log.error(
                "model %s fails (%s); going back to %s", failed, error, self.engine.bundle.id, extra={"MODEL": failed}
            )
            swap.on_failure(error)
            return self._classify(frame, tell=tell)
        self._failures += 1
        if self._failures == 1:
            log.error("%s", error)
        if self._failures >= GIVE_UP_FRAMES:
            raise error
        return False
