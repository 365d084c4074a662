"""Jobs on their own threads: one of a kind at a time, told of again and again, cancelled, or too late for that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from edged.contract.messages import Job
from edged.errors import CommandError, ModelError
from edged.jobs.runner import End, JobRunner, Kind, RunningJob, State, Work
from tests.waiting import PATIENCE_S, wait_until

BAKING = Kind("bake", "cake", pulse_s=0.01)
WASHING = Kind("wash", "wash", pulse_s=60)


class Board:
    """Everything that was published."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, job: Job) -> None:
        self.jobs.append(job)

    def of(self, id_: str) -> list[Job]:
        return [job for job in list(self.jobs) if job.id == id_]

    def last(self, id_: str) -> Job:
        wait_until(lambda: self.of(id_) and self.of(id_)[-1].status != "running", what=f"the end of {id_}")
        return self.of(id_)[-1]


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def runner(board: Board) -> Iterator[JobRunner]:
    one = JobRunner(board)
    yield one
    one.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("cake", "wash"))]


def until_cancelled(job: RunningJob) -> End | None:
    assert job.cancelled.wait(PATIENCE_S)
    return None


def test_a_job_is_told_of_until_its_end(runner: JobRunner, board: Board) -> None:
    go = threading.Event()

    def work(job: RunningJob) -> End:
        job.reach(State("dough", 0.25, {"eggs": 3}))
        wait_until(lambda: [told.stage for told in board.of("a")].count("dough") > 3, what="the pulse")
        job.reach(State("oven", 0.75))
        assert go.wait(PATIENCE_S)
        return End("succeeded", {"cake": "good"})

    runner.start(BAKING, "a", work, State("kitchen"))
    go.set()
    assert board.last("a").model_copy(update={"ts": ""}) == Job(
        ts="", id="a", cmd="bake", status="succeeded", progress=1.0, report={"cake": "good"}
    )
    told = board.of("a")[:-1]
    assert {job.status for job in told} == {"running"}
    assert list(dict.fromkeys((job.stage, job.progress) for job in told))[-2:] == [("dough", 0.25), ("oven", 0.75)]
    assert next(job.report for job in told if job.stage == "dough") == {"eggs": 3}


def test_another_stage_is_told_at_once(runner: JobRunner, board: Board) -> None:
    def work(job: RunningJob) -> End:
        job.reach(State("soap", 0.5))  # its next pulse would come in a minute
        assert board.of("a")[-1].stage == "soap"
        return End("succeeded")

    runner.start(WASHING, "a", work)
    assert board.last("a").status == "succeeded"


def test_one_of_a_kind_at_a_time(runner: JobRunner, board: Board) -> None:
    runner.start(BAKING, "first", until_cancelled)
    runner.start(BAKING, "second", until_cancelled)
    assert (board.last("second").status, board.last("second").error) == ("rejected", "a cake is running: first")
    runner.start(WASHING, "other", lambda _: End("succeeded"))
    assert board.last("other").status == "succeeded"
    runner.cancel("first")
    assert (board.last("first").status, board.last("first").error) == ("cancelled", "cancelled on request")
    runner.start(BAKING, "third", lambda _: End("succeeded"))  # who hears of the end may begin the next at once
    assert board.last("third").status == "succeeded"


def test_who_is_meant(runner: JobRunner) -> None:
    with pytest.raises(CommandError, match=r"^nothing is running$"):
        runner.cancel(None)
    with pytest.raises(CommandError, match=r"^no job a is running; none is$"):
        runner.cancel("a")
    runner.start(BAKING, "abc", until_cancelled)
    runner.start(WASHING, "abd", until_cancelled)
    with pytest.raises(CommandError, match=r"^no job b is running; bake abc, wash abd is$"):
        runner.cancel("b")
    for several in (None, "ab"):
        with pytest.raises(CommandError, match=r"^several jobs are running, name one: bake abc, wash abd$"):
            runner.cancel(several)
    assert runner.cancel("abd").id == "abd"
    wait_until(lambda: "abd" not in _running(runner), what="the end of abd")
    assert runner.cancel(None).id == "abc"


def _running(runner: JobRunner) -> str:
    try:
        runner.cancel("-")
    except CommandError as error:
        return str(error)
    raise AssertionError("no id begins with a dash")


@pytest.mark.parametrize(
    ("work", "status", "error"),
    [
        (lambda _: End("failed", {"some": 1}, "burnt"), "failed", "burnt"),
        (lambda _: End("rejected", error="no eggs"), "rejected", "no eggs"),
    ],
)
def test_how_it_ends(runner: JobRunner, board: Board, work: Work, status: str, error: str) -> None:
    runner.start(BAKING, "a", work)
    assert (board.last("a").status, board.last("a").error) == (status, error)


def test_errors_end_the_job_and_not_the_runner(
    runner: JobRunner, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(error: Exception) -> Work:
        def work(_: RunningJob) -> End:
            raise error

        return work

    runner.start(BAKING, "a", raising(ModelError("no such model")))
    assert (board.last("a").status, board.last("a").error) == ("failed", "no such model")
    assert "Traceback" not in caplog.text
    runner.start(BAKING, "b", raising(ZeroDivisionError()))
    assert board.last("b").error == "internal error; the daemon's log tells more"
    assert "ZeroDivisionError" in caplog.text


def test_what_came_out_before_the_cancel_counts(runner: JobRunner, board: Board) -> None:
    deciding, go = threading.Event(), threading.Event()

    def work(job: RunningJob) -> End:
        assert job.decide()
        deciding.set()
        assert go.wait(PATIENCE_S)
        assert job.decide()
        return End("succeeded")

    runner.start(BAKING, "a", work)
    assert deciding.wait(PATIENCE_S)
    with pytest.raises(CommandError, match="cake a has just ended"):
        runner.cancel("a")
    go.set()
    assert board.last("a").status == "succeeded"


@pytest.mark.parametrize(
    ("ask", "status", "error"),
    [
        (lambda runner: runner.cancel("a"), "cancelled", "cancelled on request"),
        (lambda runner: threading.Thread(target=runner.stop).start(), "succeeded", None),
    ],
    ids=["cancel", "stop"],
)
def test_what_comes_out_after_a_cancel_does_not_count_unless_the_daemon_stops(
    runner: JobRunner, board: Board, ask: Callable[[JobRunner], None], status: str, error: str | None
) -> None:
    seen = threading.Event()

    def work(job: RunningJob) -> End:
        seen.set()
        assert job.cancelled.wait(PATIENCE_S)
        return End("succeeded", {"cake": "good"})

    runner.start(BAKING, "a", work)
    assert seen.wait(PATIENCE_S)
    ask(runner)
    assert (board.last("a").status, board.last("a").error) == (status, error)


def test_a_daemon_that_stops_ends_them_all(runner: JobRunner, board: Board) -> None:
    runner.start(BAKING, "a", until_cancelled)
    runner.start(WASHING, "b", until_cancelled)
    runner.stop()
    for id_ in ("a", "b"):
        assert (board.of(id_)[-1].status, board.of(id_)[-1].error) == ("cancelled", "the daemon stopped")
    runner.start(BAKING, "c", until_cancelled)
    assert (board.last("c").status, board.last("c").error) == ("rejected", "the daemon stops")
