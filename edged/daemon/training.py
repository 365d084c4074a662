"""`retrain`: one training at a time, in a child, watched by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edged.contract.messages import Job
from edged.daemon.training_job import State, TrainingJob
from edged.errors import CommandError, EdgedError, ModelError, RefusedError
from edged.jobs.process import TrainingProcess
from edged.learning.choice import candidates, choose_backbone
from edged.learning.request import Outcome, Progress, TrainingRequest
from edged.store import read_bundle

if TYPE_CHECKING:
    from edged.contract.commands import Command, RetrainArgs
    from edged.contract.messages import JobStatus
    from edged.daemon.switching import ModelSwitch
    from edged.mqtt.link import Link
    from edged.settings import Settings
    from edged.store import Store

log = logging.getLogger(__name__)

_LISTEN_S = 0.1
_TRAINER = "edged.learning.trainer"
_CHOOSING_TRAINER = "edged.lab.trainer"
"""Modules that the trainer process runs; the second one ranks candidates first. Not imported here."""


class Training:
    """Runs trainings.

    Args:
        settings: The whole configuration.
        store: Where models are.
        switch: Lets a new model answer.
        link: Where job states go.
    """

    def __init__(self, settings: Settings, store: Store, switch: ModelSwitch, link: Link) -> None:
        self._settings = settings
        self._store = store
        self._switch = switch
        self._link = link
        self._lock = threading.Lock()
        self._running: TrainingJob | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def retrain(self, command: Command[RetrainArgs]) -> None:
        """Begin a training; its job goes on by itself."""
        try:
            request = self._request(command.id, command.args)
            with self._lock:
                if self._running is not None:
                    raise RefusedError(f"a training is running: {self._running.id}")
                known = frozenset(version.id for version in self._store.versions())
                self._running = TrainingJob(request, known, self._link)
        except RefusedError as error:
            self._end(command.id, Outcome("rejected", error=str(error)), 0.0)
            return
        self._thread = threading.Thread(target=self._run, args=(self._running,), name="training")
        self._thread.start()

    @property
    def running(self) -> str | None:
        """Id of the training that runs."""
        with self._lock:
            return None if self._running is None else self._running.id

    def cancel(self, id_: str) -> None:
        """End the training that runs; its own job says so.

        Raises:
            CommandError: It has ended.
        """
        with self._lock:
            running = self._running
            if running is None or running.id != id_ or running.decided:
                raise CommandError(f"training {id_} has just ended")
            running.cancelled.set()

    def stop(self) -> None:
        """Cancel the training that runs and wait for its end."""
        with self._lock:
            self._stopping = True
            if self._running is not None:
                self._running.why = "the daemon stopped"
                self._running.cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def _request(self, id_: str, args: RetrainArgs) -> TrainingRequest:
        current = self._switch.running
        return TrainingRequest(
            state_dir=self._settings.storage.state_dir,
            backbone=choose_backbone(self._store, current, args.backbone).path,
            candidates=candidates(self._store, args.backbone),
            current=current.path,
            run=id_,
            images_max_mb=self._settings.storage.images_max_mb,
            runtime=self._settings.model.runtime,
            hyperparameters=args.over(self._settings.retrain.hyperparameters),
        )

    # -- on the training's own thread, which must live as long as the child --------------------------------------------

    def _run(self, running: TrainingJob) -> None:
        began = time.monotonic()
        with running.pulse():
            outcome = self._carry_out(running, began)
        with self._lock:
            self._running = None
        status: JobStatus = "cancelled" if outcome is None else outcome.status
        final = Outcome("failed", error=running.why) if outcome is None else outcome
        self._end(running.id, final, running.state.progress, status)

    def _carry_out(self, running: TrainingJob, began: float) -> Outcome | None:
        """Train and promote; None: cancelled."""
        try:
            outcome = self._train(running, began)
            if outcome is not None and outcome.status == "succeeded":
                outcome = self._promote(running, outcome, began)
            elif not self._decide(running):
                outcome = None
            if outcome is None:
                self._discard(running)
        except EdgedError as error:
            return Outcome("failed", error=str(error))
        except Exception:  # the top of a thread
            log.exception("training %s has failed", running.id)
            return Outcome("failed", error="internal error; the daemon's log tells more")
        return outcome

    def _train(self, running: TrainingJob, began: float) -> Outcome | None:
        """Run the child to its end; None: cancelled."""
        process = TrainingProcess(running.request, _CHOOSING_TRAINER if running.request.candidates else _TRAINER)
        log.info("training %s runs in process %s", running.id, process.pid)
        try:
            while True:
                message = process.receive(_LISTEN_S)
                if running.cancelled.is_set():
                    return None
                if isinstance(message, Outcome):
                    return message
                if time.monotonic() - began > self._settings.retrain.timeout_s:
                    limit = self._settings.retrain.timeout_s
                    return Outcome("failed", error=f"not done after retrain.timeout_s = {limit:g} s")
                if isinstance(message, Progress):
                    running.reach(State(message.stage, message.fraction, message.detail))
        finally:
            process.close()

    def _promote(self, running: TrainingJob, outcome: Outcome, began: float) -> Outcome | None:
        """Let the new model answer; None: cancelled, and the old one answers."""
        if running.cancelled.is_set():
            return None
        if outcome.bundle is None:
            raise EdgedError("the trainer names no bundle")
        running.reach(State("swap", 1.0))
        swapped = time.monotonic()
        before, new = self._switch.running, read_bundle(outcome.bundle)
        try:
            self._switch.use(new, enough=running.cancelled.is_set)
        except EdgedError as error:
            return Outcome("failed", outcome.report, error=str(error))
        if not self._decide(running):
            if before.id != new.id:
                self._switch.rollback()
            return None
        now = time.monotonic()
        seconds = {stage: took for stage, took in outcome.report.get("seconds", {}).items() if stage != "total"}
        seconds |= {"swap": round(now - swapped, 3), "total": round(now - began, 3)}
        return Outcome("succeeded", {**outcome.report, "seconds": seconds}, bundle=outcome.bundle)

    def _decide(self, running: TrainingJob) -> bool:
        """Tell whether what has come out counts; False: it was cancelled before. A daemon that stops keeps it."""
        with self._lock:
            running.decided = self._stopping or not running.cancelled.is_set()
            return running.decided

    def _discard(self, running: TrainingJob) -> None:
        """Remove what a cancelled training has written already: it would count among the versions that stay."""
        for version in self._store.versions():
            if version.id not in running.versions and (version.manifest.training or {}).get("run") == running.id:
                try:
                    self._store.discard(version.id)
                except ModelError as error:
                    log.warning("version %s stays: %s", version.id, error)

    def _end(self, id_: str, outcome: Outcome, progress: float, status: JobStatus | None = None) -> None:
        status = outcome.status if status is None else status
        log.info("training %s: %s%s", id_, status, f": {outcome.error}" if outcome.error else "")
        self._link.job(
            Job(
                id=id_,
                cmd="retrain",
                status=status,
                progress=1.0 if status == "succeeded" else progress,
                report=outcome.report or None,
                error=outcome.error,
            )
        )
