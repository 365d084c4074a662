"""The thread that turns inferences into result messages, so that the main thread only invokes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.daemon.results import Likeness, ResultFilter, make_result
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
Viewer = Callable[["Frame", "Result"], None]
"""The same, with the frame's result, whether published or not."""


class Publisher:
    """Publishes results in the order of `put`.

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
        self.latest: dict[str, tuple[Frame, Result]] = {}
        """Per camera the newest classified frame and its result, whether published or not: one that was not has the
        number of the last one that was."""
        self.observers: list[Observer] = []
        self.viewers: list[Viewer] = []
        self._link = link
        self._filter = results
        self._statistics = statistics
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[tuple[Frame, Outputs, Engine] | None] = queue.SimpleQueue()
        self._engine: Engine | None = None
        self._numbers: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="publisher")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, frame: Frame, outputs: Outputs, engine: Engine) -> None:
        """Hand over a classified frame; returns at once."""
        self._queue.put((frame, outputs, engine))

    def stop(self, timeout_s: float | None = None) -> None:
        """Publish what was handed over, then end the thread, waiting at most `timeout_s`."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._publish(*item)
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
        smoothed = self._filter.update(frame.camera, inference.scores, time.monotonic(), likeness)
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
        self.latest[frame.camera] = (frame, result)  # first: who has seen the result may ask for its frame
        if smoothed.publish:
            # What was published, known apart from what arrives: a line is in the log before its result is handed over.
            log.debug("%s: result %d of start %s at %.3f s", frame.camera, seq, BOOT, time.monotonic())
            self._link.publish(f"result/{frame.camera}", result.encode())
        for viewer in self.viewers:
            viewer(frame, result)
        self._statistics.add(result)
        for observer in self.observers:
            observer(frame, inference, witness)
        if (tracer := tracing.active) is not None:
            tracer.span("publish", "publish", begin_ns, time.monotonic_ns(), camera=frame.camera, seq=frame.seq)
