"""`images_doubtful`: labels that look wrong, found in a child at low priority.

`edged.learning` is imported when a review is asked for, as in `daemon.training`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.jobs.child_work import done_by_child
from edged.jobs.runner import End, Kind, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.contract.commands import Command, ImagesDoubtfulArgs
    from edged.jobs.runner import JobRunner, RunningJob
    from edged.learning import ReviewRequest
    from edged.settings import Settings
    from edged.store import Bundle, Store

REVIEW = Kind("images_doubtful", "review of the labels", pulse_s=0.25)


class Reviewing:
    """Runs reviews of the labels.

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

    def doubtful(self, command: Command[ImagesDoubtfulArgs]) -> None:
        """Begin a review; its job goes on by itself."""
        from edged.learning import ReviewRequest, choose_backbone

        request = ReviewRequest(
            state_dir=self._settings.storage.state_dir,
            backbone=choose_backbone(self._store, self._current(), None).path,
            images_max_mb=self._settings.storage.images_max_mb,
            runtime=self._settings.model.engine,
            limit=command.args.limit,
        )
        self._runner.start(REVIEW, command.id, lambda job: self._carry_out(job, request), State("starting"))

    def _carry_out(self, job: RunningJob, request: ReviewRequest) -> End | None:
        """Run the child, on the job's own thread; None: cancelled."""
        from edged.learning import REVIEWER

        timeout_s = self._settings.retrain.timeout_s
        outcome = done_by_child(job, REVIEWER, request, timeout_s=timeout_s, limit="retrain.timeout_s")
        return outcome if outcome is None or isinstance(outcome, End) else End("succeeded", outcome.report.to_json())
