"""Which bundle answers: the store's link and the frame loop's engine, changed together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edged.daemon.engine import Engine, load_engine
from edged.daemon.loop import FrameLoop, Swap
from edged.errors import EdgedError, ModelError

if TYPE_CHECKING:
    from edged.daemon.rehearsal import Rehearsal
    from edged.settings import Settings
    from edged.store import Bundle, Store

log = logging.getLogger(__name__)

HAND_OVER_S = 5.0
"""How long a change waits for the frame loop to take the new engine: it does between two frames."""
PROBATION_S = 0.5
"""How long a change waits for the end of the new engine's probation on live frames. It has classified the newest ones
before; where live ones are rare, one that fails later is still taken back, and the log and `model` say so."""
_TICK_S = 0.01


class ModelSwitch:
    """Promotes, rolls back, and goes back when a new model fails. Any thread but the main one may call it.

    A new engine is loaded and has classified the newest frames before the frame loop sees it: the change costs no
    frame, and what fails there has changed nothing.

    Args:
        settings: The whole configuration.
        store: Which version is current.
        loop: Which engine answers.
        rehearsal: Runs a new engine on the newest frames.
        publish_model: Called after each change.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        loop: FrameLoop,
        rehearsal: Rehearsal,
        publish_model: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._store = store
        self._loop = loop
        self._rehearsal = rehearsal
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
            patience_s: How long this waits for the end of the new model's probation on live frames.
            enough: Asked many times a second meanwhile; True ends the wait.

        Returns:
            The version that answers from now on.

        Raises:
            ModelError: It cannot be loaded or written, or fails on the newest frames, and the old one goes on; or it
                has failed on live ones, and the old one is back.
        """
        name = self._settings.model.name
        with self._lock:
            before = self._store.current(name)
            engine = self._load(bundle)
            version = self._store.promote(bundle, name)
            if version.path != bundle.path:
                engine = replace(engine, bundle=replace(version, labels=engine.bundle.labels))
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
            engine = self._load(previous)
            self._store.rollback(name)
            self._swap(engine, lambda: self._back_to(failing, previous))
        return previous

    def _load(self, bundle: Bundle) -> Engine:
        engine = open_engine(bundle, self._settings, self._store)
        try:
            self._rehearsal.run(engine)
        except ModelError as error:
            raise ModelError(f"model {bundle.id} fails ({error}); the old one goes on") from error
        return engine

    def _swap(
        self,
        engine: Engine,
        undo: Callable[[], None],
        patience_s: float = PROBATION_S,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Hand the engine to the frame loop and wait a moment for it to prove itself on live frames too."""
        failure: list[ModelError] = []
        decided = threading.Event()

        def on_failure(error: ModelError) -> None:
            failure.append(error)
            decided.set()
            # The main thread has frames to classify; and it must not wait for our lock.
            threading.Thread(target=self._undo, args=(undo,), name="model-undo").start()

        self._loop.swap(Swap(engine, on_failure, decided.set))
        began = time.monotonic()
        while self._loop.engine is not engine and not decided.is_set() and time.monotonic() - began < HAND_OVER_S:
            time.sleep(_TICK_S)
        self._publish_model()
        end = time.monotonic() + patience_s
        while not decided.wait(_TICK_S) and not enough():
            if time.monotonic() >= end:
                log.info("model %s answers; its first live frames are still watched", engine.bundle.id)
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


def open_engine(bundle: Bundle, settings: Settings, store: Store) -> Engine:
    """Make what answers frames while a bundle is current: at the start and after every change of model.

    Returns:
        The networks of `[selection]`, where it names a strategy that was fitted for the bundle's labels; otherwise the
        bundle's network alone.

    Raises:
        ConfigError: `[selection]` names what is not fitted or not installed.
        ModelError: A bundle or the fitted files are damaged.
    """
    if settings.selection.strategy != "none":
        from edged.daemon.selection import open_selection  # most devices have no use for it, nor for its memory

        if (engine := open_selection(settings, store, bundle)) is not None:
            return engine
    return load_engine(bundle, settings.model)
