"""`images_doubtful` on the device: what becomes of the child process that looks at the labels, as states of its job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.contract.commands import Command, ImagesDoubtfulArgs
from edged.contract.messages import Job
from edged.daemon.reviewing import Reviewing
from edged.jobs.runner import JobRunner
from edged.settings import RetrainSettings, Settings, StorageSettings
from edged.store import Store
from tests.albums import make_album
from tests.waiting import PATIENCE_S

FINAL = {"succeeded", "failed", "rejected", "cancelled"}
Reviewed = Callable[..., list[Job]]


@pytest.fixture
def reviewed(tmp_path: Path) -> Reviewed:
    """Review the labels in `tmp_path`; return all states of the job, the last of which is its end."""

    def run(limit: int | None = None, timeout_s: float = PATIENCE_S, *, cancel: bool = False) -> list[Job]:
        told: list[Job] = []
        ended = threading.Event()

        def publish(job: Job) -> None:
            told.append(job)
            if job.status in FINAL:
                ended.set()

        settings = Settings(storage=StorageSettings(state_dir=tmp_path), retrain=RetrainSettings(timeout_s=timeout_s))
        store, runner = Store(tmp_path), JobRunner(publish)
        reviewing = Reviewing(settings, store, lambda: store.current("mobilenet_v2"), runner)
        reviewing.doubtful(Command("asked", ImagesDoubtfulArgs(limit=limit)))
        if cancel:
            runner.cancel("asked")
        assert ended.wait(PATIENCE_S)
        assert runner.stop(PATIENCE_S)
        return told

    return run


def test_a_review_tells_its_stages_and_as_many_images_as_were_asked_for(reviewed: Reviewed, tmp_path: Path) -> None:
    make_album(tmp_path / "images", 6)
    told = reviewed(4)
    assert {(job.id, job.cmd) for job in told} == {("asked", "images_doubtful")}
    assert (told[0].status, told[0].stage, told[-1].status) == ("running", "starting", "succeeded")
    assert "bottlenecks" in {job.stage for job in told}
    assert 18 in {(job.report or {}).get("of") for job in told}
    report = told[-1].report or {}
    assert (report["judged"], len(report["images"])) == (18, 4)


def test_without_images_it_is_rejected_with_the_reason(reviewed: Reviewed) -> None:
    last = reviewed()[-1]
    assert (last.status, last.report) == ("rejected", None)
    assert "there is no labeled image" in (last.error or "")


def test_one_that_takes_too_long_has_failed_and_says_which_key_allows_more(reviewed: Reviewed, tmp_path: Path) -> None:
    make_album(tmp_path / "images", 2)
    last = reviewed(timeout_s=0.01)[-1]
    assert (last.status, last.error) == ("failed", "not done after retrain.timeout_s = 0.01 s")


def test_one_that_is_cancelled_ends_without_a_report(reviewed: Reviewed, tmp_path: Path) -> None:
    make_album(tmp_path / "images", 20)
    last = reviewed(cancel=True)[-1]
    assert (last.status, last.report, last.error) == ("cancelled", None, "cancelled on request")
