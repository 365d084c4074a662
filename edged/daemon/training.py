"""`retrain`: a training in a child process, and the new model's way to answering frames.

`edged.learning` is imported when a training is asked for: a daemon that never trains does not need the report's models.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edged.errors import ChildError, EdgedError, ModelError, RefusedError
from edged.jobs.child_work import done_by_child
from edged.jobs.runner import End, Kind, State
from edged.store import read_bundle

if TYPE_CHECKING:
    from edged.contract.commands import Command, RetrainArgs
    from edged.daemon.switching import ModelSwitch
    from edged.jobs.runner import JobRunner, RunningJob
    from edged.jobs.spare import Spare
    from edged.learning import Outcome, TrainingRequest
    from edged.settings import Settings
    from edged.store import Store

log = logging.getLogger(__name__)

_ANSWERS = 1
"""Live frames that a new model has answered when its training is told to have succeeded. The trainer has classified
images with it, and so has the daemon; should it fail on a later one, it is taken back all the same, and the log and
`model` say so."""
TRAINING = Kind("retrain", "training", pulse_s=0.25)


class Training:
    """Runs trainings.

    Args:
        settings: The whole configuration.
        store: Where models are.
        switch: Lets a new model answer.
        runner: Runs jobs.
    """

    def __init__(self, settings: Settings, store: Store, switch: ModelSwitch, runner: JobRunner) -> None:
        self._settings = settings
        self._store = store
        self._switch = switch
        self._runner = runner
        self.hyperparameters = settings.retrain.hyperparameters
        """Of what a command does not name; may be changed at any time."""
        self._spare: Spare | None = None
        self._spare_lock = threading.Lock()

    def set_lr(self, lr: float) -> None:
        """Train with this learning rate from now on, until the daemon restarts, where a command names none."""
        self.hyperparameters = self.hyperparameters.model_copy(update={"lr": lr})
        log.info("learning rate of a training that names none: %g", lr)

    def expect(self) -> None:
        """Keep a trainer ready for a while: an image has got a label, or a training has ended; returns at once."""
        with self._spare_lock:
            if self._spare is None:
                from edged.jobs.spare import Spare
                from edged.learning import TRAINER

                self._spare = Spare(TRAINER, self._needed, keep_s=self._settings.retrain.ready_s)
        self._spare.prepare()

    def close(self) -> None:
        """End a trainer that waits."""
        if self._spare is not None:
            self._spare.close()

    def retrain(self, command: Command[RetrainArgs]) -> None:
        """Begin a training; its job goes on by itself."""
        try:
            request = self._request(command.id, command.args)
        except RefusedError as error:
            self._runner.reject(TRAINING, command.id, str(error))
            return
        self._runner.start(TRAINING, command.id, lambda job: self._carry_out(job, request))

    def _needed(self) -> str:
        """Return what a trainer may read before there is a request."""
        from edged.learning import Needed, choose_backbone

        current, needed = self._switch.running, Needed(self._settings.model.engine)
        with contextlib.suppress(EdgedError):  # whoever trains will be told
            needed = replace(needed, bundles=(choose_backbone(self._store, current, None).path, current.path))
        return needed.encode()

    def _request(self, id_: str, args: RetrainArgs) -> TrainingRequest:
        from edged.learning import Limits, TrainingRequest, candidates, choose_backbone

        current = self._switch.running
        limits = Limits(args.within_ms, args.memory_mb, self._settings.model.threads)
        return TrainingRequest(
            state_dir=self._settings.storage.state_dir,
            backbone=choose_backbone(self._store, current, args.backbone).path,
            candidates=candidates(self._store, args.backbone, limits),
            limits=limits,
            current=current.path,
            run=id_,
            images_max_mb=self._settings.storage.images_max_mb,
            runtime=self._settings.model.engine,
            hyperparameters=args.over(self.hyperparameters),
            accept=args.accept,
        )

    # -- on the job's own thread ---------------------------------------------------------------------------------------

    def _carry_out(self, job: RunningJob, request: TrainingRequest) -> End | None:
        """Train and promote; None: cancelled, and nothing stays of it."""
        began = time.monotonic()
        before = frozenset(folder.name for folder in self._store.folders())
        end = self._train(job, request)
        if end is None or isinstance(end, End):
            ended = end if end is not None and job.decide() else None
        else:
            ended = self._promote(job, end, began)
        if ended is None:
            self._discard(job, before)
        self.expect()
        return ended

    def _train(self, job: RunningJob, request: TrainingRequest) -> Outcome | End | None:
        """Run the child; return the outcome of one that succeeded, or else how it ended; None: cancelled."""
        from edged.learning import CHOOSING_TRAINER, TRAINER

        timeout_s = self._settings.retrain.timeout_s
        trainer = CHOOSING_TRAINER if request.candidates else TRAINER
        spare = None if request.candidates else self._spare
        try:
            outcome = done_by_child(job, trainer, request, timeout_s=timeout_s, limit="retrain.timeout_s", spare=spare)
        except ChildError as error:  # what it has written already is removed
            return End("failed", error=str(error))
        if outcome is None or isinstance(outcome, End) or outcome.status == "succeeded":
            return outcome
        return End(outcome.status, outcome.report.to_json(), outcome.error)

    def _promote(self, job: RunningJob, outcome: Outcome, began: float) -> End | None:
        """Let the new model answer; None: cancelled, and the old one answers."""
        if job.cancelled.is_set():
            return None
        if outcome.bundle is None:
            raise EdgedError("the trainer names no bundle")
        job.reach(State("swap", 1.0))
        swapped = time.monotonic()
        against = outcome.report.decision.against if outcome.report.decision is not None else None
        before, new = self._switch.running, read_bundle(outcome.bundle)
        try:
            self._switch.use(new, made_here=True, instead_of=against, answers=_ANSWERS, enough=job.cancelled.is_set)
        except RefusedError as error:  # a person has let another model answer meanwhile
            return End("rejected", outcome.report.to_json(), str(error))
        except EdgedError as error:
            return End("failed", outcome.report.to_json(), str(error))
        if not job.decide():
            if before.id != new.id:
                self._switch.rollback()
            return None
        now = time.monotonic()
        seconds = {stage: took for stage, took in outcome.report.seconds.items() if stage != "total"}
        seconds |= {"swap": round(now - swapped, 3), "total": round(now - began, 3)}
        return End("succeeded", outcome.report.model_copy(update={"seconds": seconds}).to_json())

    def _discard(self, job: RunningJob, before: frozenset[str]) -> None:
        """Remove what a cancelled training has written already: it would count among the versions that stay.

        Args:
            job: Which training.
            before: Names of the models' and versions' folders that were there when it began.
        """
        for version in self._store.versions():
            if version.id not in before and (version.manifest.training or {}).get("run") == job.id:
                try:
                    self._store.discard(version.id)
                except ModelError as error:
                    log.warning("version %s stays: %s", version.id, error)
