"""A job whose work a real child process does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.contract.messages import Job
from edged.errors import ChildError
from edged.jobs.child_work import done_by_child
from edged.jobs.runner import End, Kind, RunningJob, State
from tests.jobs.child import CHILD, Answer, Order
from tests.waiting import PATIENCE_S

COUNTING = Kind("count", "count", pulse_s=60)


@pytest.fixture
def told() -> list[Job]:
    return []


@pytest.fixture
def job(told: list[Job]) -> RunningJob:
    return RunningJob(COUNTING, "c1", State("starting"), told.append)


def cancel_at_the_first_step(job: RunningJob, told: list[Job]) -> Callable[[], None]:
    def cancel() -> None:
        while not told:
            threading.Event().wait(0.01)
        job.cancelled.set()

    return cancel


def test_the_job_tells_each_stage_and_has_the_outcome(job: RunningJob, told: list[Job]) -> None:
    outcome = done_by_child(job, CHILD, Order("count", Path("here"), (3,)), timeout_s=PATIENCE_S)
    assert outcome == Answer("count", Path("here"), (3.0,))
    assert [(one.stage, one.progress, one.report) for one in told] == [
        (f"stage {number}", number / 4, {"text": "ü\n", "nothing": None}) for number in range(3)
    ]


def test_what_cannot_be_done_is_rejected_with_the_reason(job: RunningJob) -> None:
    assert done_by_child(job, CHILD, Order("decline"), timeout_s=PATIENCE_S) == End("rejected", error="not this one: ü")


@pytest.mark.parametrize(
    ("limit", "error"), [("retrain.timeout_s", "retrain.timeout_s = 0.5 s"), ("", "0.5 s")], ids=["setting", "constant"]
)
def test_one_that_takes_too_long_has_failed_and_names_the_limit(job: RunningJob, limit: str, error: str) -> None:
    end = done_by_child(job, CHILD, Order("sleep", numbers=(300,)), timeout_s=0.5, limit=limit)
    assert end == End("failed", error=f"not done after {error}")


def test_one_that_is_cancelled_has_no_end_of_its_own(job: RunningJob, told: list[Job]) -> None:
    canceller = threading.Thread(target=cancel_at_the_first_step(job, told))
    canceller.start()
    assert done_by_child(job, CHILD, Order("sleep", numbers=(300,)), timeout_s=PATIENCE_S) is None
    canceller.join()


def test_one_that_dies_is_an_error(job: RunningJob) -> None:
    with pytest.raises(ChildError, match="tested process"):
        done_by_child(job, CHILD, Order("leave", numbers=(3,)), timeout_s=PATIENCE_S)
