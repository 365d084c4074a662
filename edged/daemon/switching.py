"""Which bundle answers: the store's link and the frame loop's engine, changed together; at the start and later.

A new model passes four doors. A child process classifies the newest frames with it (`zoo.examination`); so does an
engine in this process that answers none yet (`rehearsal`); the first live frames are watched, and the old engine waits
(`loop`); and until a minute has passed, what is on disk says that it is on trial (`store.trial`), so that an end of
this process is told from its proof.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edged.daemon.engine import Engine, load_engine
from edged.daemon.loop import PROBATION_FRAMES, FrameLoop, Swap
from edged.daemon.proof import Proof, keep_trial
from edged.daemon.rehearsal import KEPT
from edged.errors import ConfigError, EdgedError, ModelError, RefusedError

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
_CURRENT = "the current model"


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
        self._proof: Proof | None = None
        self._changing = threading.Lock()
        """Held while the store makes another version current, a moment of what `_lock` is held for, and by `end`."""
        self._frames_over = threading.Event()
        self._ended = False
        self._promoted: str | None = None
        """Id of the version that this process has made current last, which may not answer yet."""

    def begin(self) -> None:
        """Watch the first frames of the engine that the daemon has started with, in case its version is on trial."""
        self._loop.watch(lambda: self._proved(self.running.id))

    def request_stop(self) -> None:
        """Let nobody wait for live frames any more: the loop has ended, which would classify them; returns at once."""
        self._frames_over.set()

    def end(self, *, in_order: bool) -> None:
        """Let nothing be promoted any more: it would be on trial, and blamed for the end that has begun already.

        Args:
            in_order: The daemon ends as it should, so that nothing is held against a version that is on trial.
        """
        if self._proof is not None:
            self._proof.cancel()
        with self._changing:
            self._ended = True
            if in_order:
                keep_trial(_CURRENT, lambda: self._store.paused(self._promoted or self.running.id))

    @property
    def running(self) -> Bundle:
        """The bundle that answers."""
        return self._loop.engine.bundle

    def use(
        self,
        bundle: Bundle,
        *,
        made_here: bool = False,
        instead_of: str | None = None,
        patience_s: float = PROBATION_S,
        answers: int = PROBATION_FRAMES,
        enough: Callable[[], bool] = lambda: False,
    ) -> Bundle:
        """Make a bundle current and let it answer.

        Args:
            bundle: Which.
            made_here: The trainer has made it just now and has classified images with it, which is its examination and
                most of its rehearsal.
            instead_of: Id of the version that must answer until now, because the bundle was compared with it; None:
                whichever does.
            patience_s: How long this waits for the end of the new model's probation on live frames.
            answers: So many live frames that the new model has answered end the wait, at most a probation's.
            enough: Asked many times a second meanwhile; True ends the wait.

        Returns:
            The version that answers from now on.

        Raises:
            RefusedError: Another one answers by now than `instead_of`, and goes on.
            ModelError: It cannot be loaded or written, or fails on the newest frames, or the daemon stops, and the old
                one goes on; or it has failed on live ones, and the old one is back.
        """
        name = self._settings.model.name
        with self._lock:
            before = self._before(name)
            if instead_of not in (None, (now := self.running).id):
                compared = f"{bundle.name} ({bundle.id}) was compared with {instead_of}"
                raise RefusedError(f"{now.name} ({now.id}) answers by now, and goes on; {compared}")
            if not made_here:
                self._examine(bundle)
            engine = self._load(bundle, KEPT if made_here else PROBATION_FRAMES)
            with self._changing:
                if self._ended:
                    raise ModelError(f"model {bundle.id} is not tried, for the daemon stops")
                version = self._store.promote(bundle, name, answers=True)
                self._promoted = version.id
            if version.path != bundle.path:
                engine = replace(engine, bundle=replace(version, labels=engine.bundle.labels))
            self._swap(engine, lambda reason: self._back_to(before, version, reason), patience_s, answers, enough)
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
            failing = self._before(name)
            previous = self._store.previous(name)
            if previous is None:
                raise ModelError(f"nothing to roll back to: {failing.name} ({failing.id}) has no version before it")
            engine = self._load(previous)
            with self._changing:
                self._store.rollback(name, answers=not self._ended)
                self._promoted = previous.id
            self._swap(engine, lambda reason: self._back_to(failing, previous, reason))
        return previous

    def _before(self, name: str) -> Bundle:
        """Return what is current; where even the installed model is damaged, what answers in its place."""
        try:
            return self._store.current(name)
        except ModelError:
            return self.running

    def _examine(self, bundle: Bundle) -> None:
        """Let a child process classify the newest frames with a bundle's model.

        Raises:
            ModelError: It failed.
        """
        from edged.zoo.examination import examine  # only who changes models needs it

        model, frames = self._settings.model, self._rehearsal.frames()
        bundle.read_model()  # damage on the disk has an error of its own
        try:
            examine(
                bundle.file,
                runtime=model.engine,
                threads=model.threads,
                crop=bundle.manifest.input.crop,
                outputs=bundle.manifest.outputs,
                frames=frames,
                count=PROBATION_FRAMES if frames else 2,
            )
        except ModelError as error:
            raise ModelError(f"model {bundle.id} fails ({error}); the old one goes on") from error

    def _load(self, bundle: Bundle, frames: int = PROBATION_FRAMES) -> Engine:
        engine = open_engine(bundle, self._settings, self._store)
        try:
            self._rehearsal.run(engine, frames)
        except ModelError as error:
            raise ModelError(f"model {bundle.id} fails ({error}); the old one goes on") from error
        return engine

    def _swap(
        self,
        engine: Engine,
        undo: Callable[[str], None],
        patience_s: float = PROBATION_S,
        answers: int = PROBATION_FRAMES,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Hand the engine to the frame loop and wait a moment for it to prove itself on live frames too.

        Args:
            engine, patience_s, answers, enough: See `use`.
            undo: Called with the reason, where it fails later.
        """
        failure: list[ModelError] = []
        decided = threading.Event()

        def on_failure(error: ModelError) -> None:
            failure.append(error)
            decided.set()
            # The main thread has frames to classify; and it must not wait for our lock.
            threading.Thread(target=self._undo, args=(undo, str(error)), name="model-undo").start()

        def on_proof() -> None:
            decided.set()
            self._proved(engine.bundle.id)

        self._loop.swap(Swap(engine, on_failure, on_proof))
        began = time.monotonic()
        while self._loop.engine is not engine and not decided.is_set() and time.monotonic() - began < HAND_OVER_S:
            if self._frames_over.wait(_TICK_S):
                break
        self._publish_model()
        end = time.monotonic() + patience_s
        while not decided.wait(_TICK_S) and not enough() and not self._frames_over.is_set():
            answered = self._loop.engine is engine and self._loop.answered_on_probation >= answers
            if answered or time.monotonic() >= end:
                log.info("model %s answers; its first live frames are still watched", engine.bundle.id)
                break
        if failure:
            raise ModelError(f"model {engine.bundle.id} fails ({failure[0]}); the old one is back")

    def _proved(self, version: str) -> None:
        """Begin to trust a version that has classified live frames; called on the main thread, and returns at once."""
        if self._proof is not None:
            self._proof.cancel()
        self._proof = Proof(_CURRENT, lambda: self._store.proved(version), lambda: self._store.settled(version))

    def _undo(self, undo: Callable[[str], None], reason: str) -> None:
        with self._lock:
            try:
                undo(reason)
            except EdgedError as error:
                log.error("the store still names the failed model as current: %s", error)
            finally:
                self._publish_model()

    def _back_to(self, before: Bundle, failed: Bundle, reason: str) -> None:
        """Make the store agree with the frame loop, which has gone back already."""
        if before.id != failed.id:
            self._store.give_up(failed.id, [before.id], self._settings.model.name, reason)

    def _prune(self) -> None:
        try:
            removed = self._store.prune(self._settings.retrain.keep_versions)
        except ModelError as error:
            log.warning("old versions stay: %s", error)
        else:
            if removed:
                log.info("old versions removed: %s", ", ".join(removed))


def open_first(settings: Settings, store: Store) -> Engine:
    """Make what answers when the daemon starts.

    A version whose trial is lost, or that cannot be opened for whatever reason, gives way to the newest one before it
    that can, then to the installed model, and where that cannot be opened either, to the one of its name that came with
    edged.

    Raises:
        ConfigError: None of them can be opened, or `[selection]` cannot be used: starting again would not heal it.
    """
    name = settings.model.name
    failures: list[tuple[str, str]] = []
    versions = store.begin(name)
    for place, version in enumerate(versions):
        try:
            engine = open_engine(store.version(version), settings, store)
        except ModelError as error:
            failures.append((version, str(error)))
            continue
        _give_up(store, name, failures, versions[place:])
        return engine
    try:
        engine = open_engine(store.find(name), settings, store)
    except ModelError as error:
        engine = _open_shipped(settings, store, error)
    _give_up(store, name, failures, [])
    return engine


def _open_shipped(settings: Settings, store: Store, damage: ModelError) -> Engine:
    """Make what answers where the configured model cannot be opened: the one of its name that came with edged.

    Raises:
        ConfigError: There is none, or it cannot be opened either.
    """
    name = settings.model.name
    try:
        bundle = store.shipped(name)
        engine = open_engine(bundle, settings, store)
    except ModelError as error:
        raise ConfigError(f"model.name = {name!r}: {damage}") from error
    trouble = f"model.name = {name!r}: {damage}; the one that came with edged ({bundle.id}) answers"
    log.error("%s", trouble)
    return replace(engine, trouble=trouble)


def _give_up(store: Store, name: str, failures: list[tuple[str, str]], instead: list[str]) -> None:
    """Let the store agree with what could be opened; a disk that cannot be written keeps nobody from starting."""
    if not failures:
        return
    for version, reason in failures:
        log.error("model %s cannot answer: %s", version, reason)
    try:
        store.give_up(failures[0][0], instead, name, failures[0][1])
    except ModelError as error:
        log.error("the store still names %s as current: %s", failures[0][0], error)


def open_engine(bundle: Bundle, settings: Settings, store: Store) -> Engine:
    """Make what answers frames while a bundle is current: at the start and after every change of model.

    Returns:
        The networks of `[selection]`, where it names a strategy that was fitted for the bundle's labels; otherwise, and
        where one of its files is damaged, the bundle's network alone.

    Raises:
        ConfigError: `[selection]` names what is not fitted or not installed.
        ModelError: The bundle is damaged.
    """
    if (strategy := settings.selection.strategy) != "none":
        from edged.daemon.selection import open_selection  # most devices have no use for it, nor for its memory

        try:
            engine = open_selection(settings, store, bundle)
        except ConfigError:
            raise
        except ModelError as error:
            alone = load_engine(bundle, settings.model)
            trouble = f"selection.strategy = {strategy!r}: {error}; {bundle.name} ({bundle.id}) answers alone"
            log.error("%s", trouble)
            return replace(alone, trouble=trouble)
        if engine is not None:
            return engine
    return load_engine(bundle, settings.model)
