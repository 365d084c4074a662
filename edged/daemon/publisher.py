"""The thread that turns inferences into result messages, so that the main thread only invokes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.daemon.results import Likeness, ResultFilter, make_end, make_result
from edged.instance import BOOT
from edged.vision.scores import top_k

if TYPE_CHECKING:
    from edged.contract.messages import Result
    from edged.daemon.engine import Engine
    from edged.daemon.statistics import Statistics
    from edged.mqtt.link import Link
    from edged.types import Frame, Inference
    from edged.vision.network import Outputs

log = logging.getLogger(__name__)

Observer = Callable[["Frame", "Inference", "Engine"], None]
"""Called on the publisher's thread for each classified frame; must be quick."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a camera shows.

    Attributes:
        frame: The whole frame.
        results: Of what is in it, whether published or not, the newest thing first: of a frame that is classified whole
            exactly one. Where time allows only some of the regions, the others' are those of an earlier frame, with the
            box of this one.
    """

    frame: Frame
    results: tuple[Result, ...]


Viewer = Callable[[Scene], None]
"""Called on the publisher's thread after each frame, in which everything is classified that was to be."""


class Publisher:
    """Publishes results in the order of `put` and `finish`.

    Args:
        link: Where results go.
        results: Which frames are published.
        statistics: Counts every frame.
        top: How many labels a result carries; may be changed at any time.
        on_failure: Called once when the thread ends by an unexpected exception.
    """

    def __init__(
        self,
        link: Link,
        results: ResultFilter,
        statistics: Statistics,
        *,
        top: int,
        on_failure: Callable[[], None],
    ) -> None:
        self.top = top
        self.latest: dict[str, Scene] = {}
        """Per camera the newest classified frame and its results, whether published or not: one that was not has the
        number of the last one that was."""
        self.observers: list[Observer] = []
        self.viewers: list[Viewer] = []
        self.counters: list[Callable[[Result], None]] = []
        """The same, for each classified frame or region of one."""
        self._link = link
        self._filter = results
        self._statistics = statistics
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[tuple[Frame, Outputs, Engine] | Frame | None] = queue.SimpleQueue()
        self._engine: Engine | None = None
        self._numbers: dict[str, int] = {}
        self._tracks: dict[str, dict[str, Result]] = {}
        self._thread = threading.Thread(target=self._run, name="publisher")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, frame: Frame, outputs: Outputs, engine: Engine) -> None:
        """Hand over a classified frame; returns at once."""
        self._queue.put((frame, outputs, engine))

    def finish(self, frame: Frame) -> None:
        """Say that all regions of a frame were handed over which shall be; returns at once."""
        self._queue.put(frame)

    def stop(self, timeout_s: float | None = None) -> None:
        """Publish what was handed over, then end the thread, waiting at most `timeout_s`."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, tuple):
                    self._publish(*item)
                else:
                    self._finish(item)
        except Exception:
            log.exception("the publisher has failed")
            self._on_failure()

    def _publish(self, frame: Frame, outputs: Outputs, engine: Engine) -> None:
        begin_ns = time.monotonic_ns()
        inference = engine.decode(outputs)
        if engine is not self._engine:
            self._engine = engine
            self._filter.reset()
        witness = engine.witness(outputs)
        likeness = None
        if (known := witness.familiarity) is not None:
            likeness = Likeness(known.score(inference.embedding), known)
            inference = replace(inference, familiarity=known.familiarity(likeness.score))
        region = frame.region
        source = frame.camera if region is None else (frame.camera, region.track)
        smoothed = self._filter.update(source, inference.scores, time.monotonic(), likeness)
        # Frames that are not published, or were dropped before, leave no gap: one means that a result was lost.
        seq = self._numbers.get(frame.camera, -1) + smoothed.publish
        self._numbers[frame.camera] = seq
        result = make_result(
            frame,
            inference,
            top_k(smoothed.scores, engine.bundle.labels, self.top),
            seq=seq,
            boot=BOOT,
            model=engine.bundle.id,
            now_ns=time.monotonic_ns(),
            network=inference.network,
            familiarity=smoothed.familiarity,
            unknown=self._filter.is_unknown(smoothed.familiarity),
        )
        if region is None:
            self.latest[frame.camera] = Scene(frame, (result,))  # first: who has seen the result may ask for its frame
        else:
            self._tracks.setdefault(frame.camera, {})[region.track] = result
        if smoothed.publish:
            self._send(result)
        self._statistics.add(result)
        for counter in self.counters:
            counter(result)
        if region is None:
            self._show(self.latest[frame.camera])
        for observer in self.observers:
            observer(frame, inference, witness)
        if (tracer := tracing.active) is not None:
            tracer.span("publish", "publish", begin_ns, time.monotonic_ns(), camera=frame.camera, seq=frame.seq)

    def _finish(self, frame: Frame) -> None:
        """Tell of what has ended, and show the whole frame."""
        camera, tracks = frame.camera, self._tracks.setdefault(frame.camera, {})
        regions = frame.regions or ()
        known = {region.track for region in regions}
        for track in [track for track in tracks if track not in known]:
            self._numbers[camera] = seq = self._numbers[camera] + 1
            self._send(make_end(tracks.pop(track), frame, seq=seq, now_ns=time.monotonic_ns()))
            self._filter.forget((camera, track))
        scene = Scene(
            frame,
            tuple(
                tracks[region.track].model_copy(update={"box": region.box})
                for region in regions
                if region.visible and region.track in tracks
            ),
        )
        self.latest[camera] = scene
        self._statistics.count()
        self._show(scene)

    def _show(self, scene: Scene) -> None:
        for viewer in self.viewers:
            viewer(scene)

    def _send(self, result: Result) -> None:
        # What was published, known apart from what arrives: a line is in the log before its result is handed over.
        log.debug("%s: result %d of start %s at %.3f s", result.camera, result.seq, BOOT, time.monotonic())
        self._link.publish(f"result/{result.camera}", result.encode())
