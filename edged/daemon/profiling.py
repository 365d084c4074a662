"""`profile`: where a model's time goes on this device, measured in a child at low priority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.errors import ModelError
from edged.jobs.child_work import done_by_child
from edged.jobs.requests import PROFILE, ProfileRequest
from edged.jobs.runner import End, Kind, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.contract.commands import Command, ProfileArgs
    from edged.jobs.runner import JobRunner, RunningJob
    from edged.settings import Settings
    from edged.store import Bundle, Store

TIMEOUT_S = 7200.0
PROFILING = Kind("profile", "profile", pulse_s=0.5)


class Profiling:
    """Runs profiles.

    Args:
        settings: The whole configuration.
        store: Where models are.
        running: Returns the bundle that answers frames.
        runner: Runs jobs.
    """

    def __init__(self, settings: Settings, store: Store, running: Callable[[], Bundle], runner: JobRunner) -> None:
        self._settings = settings
        self._store = store
        self._current = running
        self._runner = runner

    def profile(self, command: Command[ProfileArgs]) -> None:
        """Begin a profile; its job goes on by itself."""
        try:
            request = self._request(command.args)
        except ModelError as error:
            self._runner.reject(PROFILING, command.id, str(error))
            return
        self._runner.start(PROFILING, command.id, lambda job: self._carry_out(job, request), State("starting"))

    def _request(self, args: ProfileArgs) -> ProfileRequest:
        bundle = self._current() if args.model is None else self._store.find(args.model)
        bundle.read_model()  # tells of damage
        chosen = args.model_dump(exclude_none=True, exclude={"model", "only"})
        if args.only:
            chosen["parts"] = args.only
        return ProfileRequest(
            name=bundle.name,
            id=bundle.id,
            model=bundle.file,
            crop=bundle.manifest.input.crop,
            mqtt=self._settings.mqtt,
            device=self._settings.device.id,
            **(chosen | {"runtime": self._settings.model.engine_of(args.runtime)}),
        )

    def _carry_out(self, job: RunningJob, request: ProfileRequest) -> End | None:
        """Run the child, on the job's own thread; None: cancelled."""
        outcome = done_by_child(job, PROFILE, request, timeout_s=TIMEOUT_S)
        return outcome if outcome is None or isinstance(outcome, End) else End("succeeded", outcome.report)
