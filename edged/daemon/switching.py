"""Which bundle answers: the store's link and the frame loop's engine, changed together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edged.daemon.engine import Engine, load_engine
from edged.daemon.loop import FrameLoop, Swap
from edged.errors import EdgedError, ModelError

if TYPE_CHECKING:
    from edged.daemon.statistics import Statistics
    from edged.settings import Settings
    from edged.store import Bundle, Store

log = logging.getLogger(__name__)

FIRST_FRAME_S = 5.0
"""How long a change waits for a frame that the new model has answered; without a camera there are none."""
PROBATION_S = 5.0
"""How long a change waits for the end of the new model's probation, if not told otherwise. Where frames are rarer, one
that fails later is still taken back, and the log and `model` say so."""
_TICK_S = 0.01


class ModelSwitch:
    """Promotes, rolls back, and goes back when a new model fails. Any thread but the main one may call it.

    A new engine is loaded and has run once before the frame loop sees it, so the change costs no frame.

    Args:
        settings: The whole configuration.
        store: Which version is current.
        loop: Which engine answers.
        statistics: Counts frames.
        publish_model: Called after each change.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        loop: FrameLoop,
        statistics: Statistics,
        publish_model: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._store = store
        self._loop = loop
        self._statistics = statistics
        self._publish_model = publish_model
        self._lock = threading.Lock()

    @property
    def running(self) -> Bundle:
        """The bundle that answers."""
        return self._loop.engine.bundle

    def use(
        self, bundle: Bundle, *, patience_s: float = PROBATION_S, enough: Callable[[], bool] = lambda: False
    ) -> Bundle:
        """Make a bundle current and let it answer.

        Args:
            bundle: Which.
            patience_s: How long this waits for the end of the new model's probation.
            enough: Asked many times a second meanwhile; True ends the wait.

        Returns:
            The version that answers from now on.

        Raises:
            ModelError: It cannot be loaded or written, and the old one goes on; or it has failed on probation, and the
                old one is back.
        """
        name = self._settings.model.name
        with self._lock:
            before = self._store.current(name)
            engine = _load(bundle, self._settings)
            version = self._store.promote(bundle, name)
            if version.path != bundle.path:
                engine = Engine(version, engine.network)
            self._swap(engine, lambda: self._back_to(before, version), patience_s, enough)
            if not enough():  # else the caller may yet go back, and an older version would be gone for nothing
                self._prune()
        return version

    def rollback(self) -> Bundle:
        """Let the version before the current one answer again.

        Raises:
            ModelError: There is none, or as `use`.
        """
        name = self._settings.model.name
        with self._lock:
            failing = self._store.current(name)
            previous = self._store.previous(name)
            if previous is None:
                raise ModelError(f"nothing to roll back to: {failing.name} ({failing.id}) has no version before it")
            engine = _load(previous, self._settings)
            self._store.rollback(name)
            self._swap(engine, lambda: self._back_to(failing, previous))
        return previous

    def _swap(
        self,
        engine: Engine,
        undo: Callable[[], None],
        patience_s: float = PROBATION_S,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Hand the engine to the frame loop and wait until it has proved itself, if frames come."""
        failure: list[ModelError] = []
        decided = threading.Event()

        def on_failure(error: ModelError) -> None:
            failure.append(error)
            decided.set()
            # The main thread has frames to classify; and it must not wait for our lock.
            threading.Thread(target=self._undo, args=(undo,), name="model-undo").start()

        first = self._statistics.frames
        self._loop.swap(Swap(engine, on_failure, decided.set))
        began = time.monotonic()
        while self._loop.engine is not engine and not decided.is_set() and time.monotonic() - began < FIRST_FRAME_S:
            time.sleep(_TICK_S)
        self._publish_model()
        while not decided.wait(_TICK_S) and not enough():
            waited = time.monotonic() - began
            # The frame at hand when the engines changed places may have been the old one's.
            frames_come = self._statistics.frames - first > 1
            if waited >= patience_s or (waited >= FIRST_FRAME_S and not frames_come):
                log.info("model %s goes on without the rest of its probation: frames are rare", engine.bundle.id)
                break
        if failure:
            raise ModelError(f"model {engine.bundle.id} fails ({failure[0]}); the old one is back")

    def _undo(self, undo: Callable[[], None]) -> None:
        with self._lock:
            try:
                undo()
            except EdgedError as error:
                log.error("the store still names the failed model as current: %s", error)
            finally:
                self._publish_model()

    def _back_to(self, before: Bundle, failed: Bundle) -> None:
        """Make the store agree with the frame loop, which has gone back already."""
        name = self._settings.model.name
        if self._store.current(name).id != failed.id:
            return  # something newer is current
        previous = self._store.previous(name)
        if previous is not None and previous.id == before.id:
            self._store.rollback(name)
        else:
            self._store.promote(before, name)

    def _prune(self) -> None:
        try:
            removed = self._store.prune(self._settings.retrain.keep_versions)
        except ModelError as error:
            log.warning("old versions stay: %s", error)
        else:
            if removed:
                log.info("old versions removed: %s", ", ".join(removed))


def _load(bundle: Bundle, settings: Settings) -> Engine:
    """Load an engine and run it once: the first invocation packs weights and takes far longer than the others."""
    engine = load_engine(bundle, settings.model)
    engine.invoke(np.full((engine.network.height, engine.network.width, 3), 127, np.uint8))
    return engine
