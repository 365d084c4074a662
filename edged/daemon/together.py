"""Learning together with other devices, photos staying here, and what these photos say of a model from elsewhere.

The commands are `bottlenecks_get`, `bottlenecks_part`, `models_judge` and `models_compare`.

`edged.learning` is imported when it is asked for, as in `daemon.training`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edged.daemon.uploads import Uploads
from edged.errors import CommandError, EdgedError, RefusedError
from edged.jobs.child_work import done_by_child
from edged.jobs.runner import End, Kind, State
from edged.store import durable

if TYPE_CHECKING:
    from pathlib import Path

    from edged.contract.commands import (
        BottlenecksGetArgs,
        BottlenecksPartArgs,
        Command,
        ModelsCompareArgs,
        ModelsJudgeArgs,
    )
    from edged.daemon.switching import ModelSwitch
    from edged.jobs.process import Child
    from edged.jobs.runner import JobRunner, RunningJob
    from edged.learning import JudgeRequest
    from edged.mqtt.link import Link
    from edged.settings import Settings
    from edged.store import Store

log = logging.getLogger(__name__)

SHARING = Kind("bottlenecks_get", "sharing of bottlenecks", pulse_s=0.25)
JUDGING = Kind("models_judge", "judgement of a model", pulse_s=0.25)
COMPARING = Kind("models_compare", "comparison of models", pulse_s=0.25)


class Together:
    """The four commands.

    Args:
        settings: The whole configuration.
        store: Where models are.
        switch: Lets a new model answer.
        runner: Runs jobs.
        link: Where bottlenecks go.
    """

    def __init__(self, settings: Settings, store: Store, switch: ModelSwitch, runner: JobRunner, link: Link) -> None:
        self._settings = settings
        self._store = store
        self._switch = switch
        self._runner = runner
        self._link = link
        self._judges = settings.storage.state_dir / "judges"
        self._uploads = Uploads(settings.storage.state_dir / "uploads")

    def get(self, command: Command[BottlenecksGetArgs]) -> None:
        """Begin to make bottlenecks ready; the job goes on by itself."""
        from edged.learning import SHARER, SharingRequest, choose_backbone

        request = SharingRequest(
            state_dir=self._settings.storage.state_dir,
            backbone=choose_backbone(self._store, self._switch.running, None).path,
            images_max_mb=self._settings.storage.images_max_mb,
            runtime=self._settings.model.engine,
            clip=command.args.clip,
            sigma=command.args.sigma,
        )
        self._runner.start(SHARING, command.id, lambda job: self._tell(job, SHARER, request), State("starting"))

    def part(self, command: Command[BottlenecksPartArgs]) -> dict[str, Any]:
        """Publish a part of what was made ready."""
        from edged.learning import SHARED

        args = command.args
        path = self._settings.storage.state_dir / SHARED / f"{args.sha256}.bin"
        try:
            with path.open("rb") as file:
                file.seek(args.offset)
                data = file.read(args.bytes)
        except FileNotFoundError as error:
            raise CommandError(f"bottlenecks {args.sha256[:12]} are not here; ask for them again") from error
        except OSError as error:
            raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
        if not data:
            raise CommandError(f"bottlenecks {args.sha256[:12]}: nothing lies at {args.offset}")
        self._link.publish(f"bottlenecks/{command.id}", data)
        return {"offset": args.offset, "bytes": len(data)}

    def judge(self, command: Command[ModelsJudgeArgs]) -> None:
        """Begin to judge a model; the job goes on by itself."""
        from edged.learning import JudgeRequest

        args, current = command.args, self._switch.running
        judges = None if args.judges is None else self._take_judges(args.judges)
        request = JudgeRequest(
            state_dir=self._settings.storage.state_dir,
            model=self._store.find(args.model).path,
            current=current.path,
            images_max_mb=self._settings.storage.images_max_mb,
            hyperparameters=self._settings.retrain.hyperparameters,
            runtime=self._settings.model.engine,
            accept=args.accept,
            untested=args.untested,
            judges=judges,
            current_judges=self._judges / f"{current.id}.bin",
        )
        self._runner.start(JUDGING, command.id, lambda job: self._judge(job, args.model, request), State("starting"))

    def compare(self, command: Command[ModelsCompareArgs]) -> None:
        """Begin to compare a model with the one that answers; the job goes on by itself, and changes nothing."""
        from edged.learning import COMPARER, ComparisonRequest

        request = ComparisonRequest(
            state_dir=self._settings.storage.state_dir,
            model=self._store.find(command.args.model).path,
            current=self._switch.running.path,
            images_max_mb=self._settings.storage.images_max_mb,
            runtime=self._settings.model.engine,
        )
        self._runner.start(COMPARING, command.id, lambda job: self._tell(job, COMPARER, request), State("starting"))

    # -- on the job's own thread ---------------------------------------------------------------------------------------

    def _judge(self, job: RunningJob, name: str, request: JudgeRequest) -> End | None:
        """Judge, and let the model answer if it may; None: cancelled, and the old one answers."""
        try:
            return self._judged(job, name, request)
        finally:
            if request.judges is not None:
                durable.delete(request.judges)  # where the model answers they have their place by now

    def _judged(self, job: RunningJob, name: str, request: JudgeRequest) -> End | None:
        from edged.learning import JUDGE

        told = self._run(job, JUDGE, request)
        if told is None or isinstance(told, End):
            return told
        if not told.decision.promote:
            return End("succeeded", told.to_json())
        job.reach(State("swap", 0.95))
        against = told.decision.against
        try:
            new = self._store.find(name)
            if new.id != told.model:
                raise RefusedError(f"{name} is another model by now ({new.id}), and {told.model} was judged")
            new = self._switch.use(new, instead_of=against, enough=job.cancelled.is_set)
        except RefusedError as error:
            return End("rejected", told.to_json(), str(error))
        except EdgedError as error:
            return End("failed", told.to_json(), str(error))
        if not job.decide():
            if against != new.id:
                self._switch.rollback()
            return None
        self._keep_judges(request.judges, new.id)
        log.info("model %s (%s) answers: %s", new.name, new.id, told.decision.reason)
        return End("succeeded", told.model_copy(update={"answers": True}).to_json())

    def _take_judges(self, sha256: str) -> Path:
        """Return the file with the heads that judge, taken from what was sent."""
        path = self._judges / f".{sha256}.bin"
        data = self._uploads.take(sha256, "judges")
        try:
            self._judges.mkdir(mode=0o700, exist_ok=True)
            durable.write_file(path, data)
        except OSError as error:
            raise CommandError(f"{path}: cannot be written: {error.strerror}") from error
        self._uploads.forget(sha256)
        return path

    def _keep_judges(self, taken: Path | None, model: str) -> None:
        """Keep the heads that judge under the id of the model that answers now; those of models that are gone go."""
        kept = {f"{version.id}.bin" for version in self._store.versions()}
        try:
            if taken is not None:
                taken.replace(self._judges / f"{model}.bin")
            for path in self._judges.glob("*"):
                if path.name not in kept:
                    durable.delete(path)
        except OSError as error:  # the next offer is judged by the test side
            log.warning("%s: cannot be kept: %s", self._judges, error.strerror)

    def _tell(self, job: RunningJob, child: Child[Any, Any, Any], request: Any) -> End | None:
        """Run a child whose outcome is the job's report."""
        told = self._run(job, child, request)
        return told if told is None or isinstance(told, End) else End("succeeded", told.to_json())

    def _run(self, job: RunningJob, child: Child[Any, Any, Any], request: Any) -> Any:
        """Run a child; return its outcome, or how the job ends instead; None: cancelled."""
        timeout_s = self._settings.retrain.timeout_s
        return done_by_child(job, child, request, timeout_s=timeout_s, limit="retrain.timeout_s")
