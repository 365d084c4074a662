"""A child process with typed messages: it may be killed, cancelled, orphaned, chatty, deaf, or out of memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edged.errors import ChildError, ChildTimeoutError, ModelError
from edged.jobs.process import Child, ChildProcess
from tests.jobs.child import CHILD, QUIET, Answer, Order, Step
from tests.waiting import PATIENCE_S, has_ended, wait_until


def run(order: Order, child: Child[Order, Step, Answer] = CHILD) -> Answer:
    with ChildProcess(child, order) as process:
        return process.wait()


def open_files() -> set[tuple[str, str]]:
    """Each descriptor of this process, and what it is of."""
    found = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - of this moment
        with contextlib.suppress(FileNotFoundError):  # the folder itself was open while it was read
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))  # noqa: PTH115 - no path of a file
    return found


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Nothing new, that is: what an earlier test has left may go meanwhile."""
    files, processes = open_files(), children()
    yield
    assert open_files() <= files
    assert children() <= processes


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a process that ends, or is asked to, as long for it as a slow machine may take."""
    monkeypatch.setattr("edged.jobs.process.KILL_AFTER_S", PATIENCE_S)


def test_messages_arrive_typed_and_in_order() -> None:
    told: list[Step] = []
    order = Order("count", Path("/tmp/ü"), (2000, 0.5))
    with ChildProcess(CHILD, order) as process:
        answer = process.wait(told.append)
    assert answer == Answer("count", Path("/tmp/ü"), (2000.0, 0.5))
    assert told == [Step(number, {"text": "ü\n", "nothing": None}) for number in range(2000)]


def test_it_steps_back_before_it_works() -> None:
    ours = os.nice(0)
    facts = run(Order("facts")).facts
    assert facts["nice"] == min(ours + 10, 19)
    assert facts["policy"] == os.SCHED_BATCH
    assert facts["oom"] == 1000
    assert facts["session"]
    assert facts["blas"] == "1"
    assert not facts["numpy"]
    assert facts["stdin"] == ""


def test_what_others_print_is_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Step] = []
    with ChildProcess(CHILD, Order("chatter")) as process:
        answer = process.wait(told.append)
    assert (answer.task, told) == ("chatter", [Step(1)])
    out, err = capfd.readouterr()
    assert out == ""
    for line in ("printed by Python", "written by a library", "printed by a program"):
        assert line in err


def test_its_modules_come_from_where_ours_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 always looks into the current folder too")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert run(Order("facts")).facts["cwd"] == str(tmp_path)


def test_errors_of_its_work_are_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=r"^no such model: ü$"):
        run(Order("refuse"))
    assert capfd.readouterr().err == ""
    with pytest.raises(ChildError, match=r"^internal error \(KeyError\); the daemon's log tells more$"):
        run(Order("fail"))
    assert "KeyError: 'a defect'" in capfd.readouterr().err
    with pytest.raises(ChildError, match=r"^internal error \(KeyError: 'a defect'\)$"):
        run(Order("fail"), QUIET)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("order", "child", "error", "out_of_memory"),
    [
        (
            Order("die", numbers=(9,)),
            CHILD,
            "the tested process was killed by signal 9 (SIGKILL); out of memory?",
            True,
        ),
        (Order("die", numbers=(11,)), CHILD, "the tested process was killed by signal 11 (SIGSEGV)", False),
        (
            Order("leave", numbers=(3,)),
            CHILD,
            "the tested process ended without a result (exit code 3); the log tells more",
            False,
        ),
        (
            Order("leave", numbers=(0,)),
            QUIET,
            "the tested process ended without a result (exit code 0): the reason",
            False,
        ),
        (Order("abort"), QUIET, "the tested process was killed by signal 6 (SIGABRT); out of memory?", True),
    ],
)
def test_an_end_without_an_outcome_says_how(
    order: Order, child: Child[Order, Step, Answer], error: str, out_of_memory: bool, patient: None
) -> None:
    with pytest.raises(ChildError) as caught:
        run(order, child)
    assert (str(caught.value), caught.value.out_of_memory) == (error, out_of_memory)


def test_a_module_that_is_not_there(patient: None) -> None:
    missing = Child("edged.nowhere", "tested process", Order, Step, Answer, keeps_errors=True)
    with pytest.raises(ChildError, match=r"\(exit code 1\): .*No module named edged\.nowhere"):
        run(Order("nothing"), missing)


def test_memory_has_a_limit() -> None:
    order = Order("take", numbers=(600e6,))
    with ChildProcess(CHILD, order, memory_bytes=1_000_000_000) as process:
        assert process.wait().task == "take"
    with (
        ChildProcess(CHILD, order, memory_bytes=500_000_000) as process,
        pytest.raises(ChildError, match="the tested process has run out of memory") as caught,
    ):
        process.wait()
    assert caught.value.out_of_memory


def test_it_has_so_much_time() -> None:
    began = time.monotonic()
    with (
        ChildProcess(CHILD, Order("sleep", numbers=(300,)), timeout_s=1.5) as process,
        pytest.raises(ChildTimeoutError, match=r"no result after 1\.5 s"),
    ):
        process.wait()
    assert time.monotonic() - began >= 1.5


def test_one_that_does_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.jobs.process.STANDSTILL_S", 0.6)
    with (
        ChildProcess(CHILD, Order("sleep", numbers=(300,))) as process,
        pytest.raises(ChildError, match=r"the tested process has done nothing for 0\.6 s; out of memory"),
    ):
        process.wait()


@pytest.mark.parametrize("task", ["sleep", "deaf"])
def test_it_is_cancelled_though_it_does_not_listen(task: str) -> None:
    cancelled = threading.Event()
    with ChildProcess(CHILD, Order(task, numbers=(300,))) as process:
        assert process.wait(lambda _: cancelled.set(), cancelled) is None
        started = psutil.Process(process.pid)
    assert not started.is_running()


def test_it_is_asked_before_it_is_killed(tmp_path: Path, patient: None) -> None:
    cancelled, mark = threading.Event(), tmp_path / "mark"
    with ChildProcess(CHILD, Order("tidy_up", mark, (300,))) as process:
        assert process.wait(lambda _: cancelled.set(), cancelled) is None
    assert mark.read_text() == "tidied up"


def test_one_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChildError, match=r"^the tested process cannot be started: No such file or directory$"):
        ChildProcess(QUIET, Order("nothing"))


def test_one_that_is_stopped_is_killed() -> None:
    cancelled = threading.Event()

    def stop(_: Step) -> None:
        os.kill(process.pid, signal.SIGSTOP)  # a stopped process acts on no signal but SIGKILL
        cancelled.set()

    with ChildProcess(CHILD, Order("sleep", numbers=(300,))) as process:
        assert process.wait(stop, cancelled) is None
        started = psutil.Process(process.pid)
    assert not started.is_running()


@pytest.mark.parametrize("seconds", [0, 300])
def test_what_it_has_started_ends_with_it(seconds: float) -> None:
    """Whether it has come to its end, or is cancelled."""
    others: list[psutil.Process] = []
    cancelled = threading.Event()

    def note(step: Step) -> None:
        others.append(psutil.Process(step.number))
        if seconds:
            cancelled.set()

    with ChildProcess(CHILD, Order("start_another", numbers=(seconds,))) as process:
        answer = process.wait(note, cancelled)
        assert (answer is None) == bool(seconds)
        assert not has_ended(others[0])
    wait_until(lambda: has_ended(others[0]), what="the end of what it had started")


_PARENT = """
from edged.jobs.process import ChildProcess
from tests.jobs.child import CHILD, Order

process = ChildProcess(CHILD, Order("start_another", numbers=(300,)))
process.wait(lambda step: print(process.pid, flush=True))
"""


def test_it_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        started = child.children()
        assert len(started) == 1
        parent.kill()
    wait_until(lambda: has_ended(child), what="its end")
    started[0].kill()  # nothing has told this one


def test_it_dies_with_the_thread_that_started_it(patient: None) -> None:
    """That is how Linux does it; the test shows why one thread has to start a child and wait for it."""
    made: list[ChildProcess[Order, Step, Answer]] = []

    def start() -> None:
        cancelled = threading.Event()
        made.append(ChildProcess(CHILD, Order("sleep", numbers=(300,))))
        made[0].wait(lambda _: cancelled.set(), cancelled)  # it lives

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    with made[0] as process, pytest.raises(ChildError, match=r"was killed by signal 9 \(SIGKILL\)"):
        process.wait()


def test_one_whose_parent_is_gone_before_it_begins_does_nothing() -> None:
    def begin(parent: int) -> tuple[int, str]:
        request = {"parent": parent, "memory": None, "request": {"task": "leave", "numbers": [7]}}
        done = subprocess.run(
            [sys.executable, "-m", "tests.jobs.child"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    assert begin(os.getpid()) == (7, "")
    assert begin(os.getppid()) == (1, "")
