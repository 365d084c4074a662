"""A child process that is ready before there is a request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from edged.errors import ChildError
from edged.jobs.process import ChildProcess, start
from edged.jobs.spare import Spare
from tests.jobs.child import CHILD, Answer, Order
from tests.waiting import has_ended, wait_until

ENOUGH = 2**40


@pytest.fixture
def spare() -> Iterator[Callable[..., Spare]]:
    made = []

    def make(argument: str = "early", keep_s: float = 300.0, available: int = ENOUGH) -> Spare:
        made.append(Spare(CHILD, lambda: argument, keep_s=keep_s, available=lambda: available))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert not waiting()


def waiting() -> list[psutil.Process]:
    return list(psutil.Process().children())


def ready(one: Spare) -> psutil.Process:
    one.prepare()
    wait_until(waiting, what="a process")
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "spare"], what="its thread")
    (process,) = waiting()
    return process


def run(one: Spare, task: str = "tell_loaded") -> Answer:
    with ChildProcess(CHILD, Order(task), spare=one) as process:
        return process.wait()


def test_a_request_goes_to_the_process_that_waits(spare: Callable[..., Spare]) -> None:
    one = spare()
    process = ready(one)
    ready(one)  # there is one already
    assert run(one).facts == {"loaded": ["early"], "pid": process.pid, "nice": os.nice(0) + CHILD.niceness}
    assert not waiting()
    later = run(one)
    assert (later.facts["loaded"], later.facts["nice"]) == ([], os.nice(0) + CHILD.niceness), "an ordinary one"


def test_one_whose_libraries_cannot_be_loaded_says_so_when_it_works(spare: Callable[..., Spare]) -> None:
    one = spare("broken")
    process = ready(one)
    assert run(one).facts["pid"] == process.pid


def test_what_its_work_does_is_told_as_of_any_other(spare: Callable[..., Spare]) -> None:
    one = spare()
    ready(one)
    with pytest.raises(ChildError, match="was killed by signal 6"):
        run(one, "abort")


def test_one_that_was_killed_is_not_taken(spare: Callable[..., Spare]) -> None:
    one = spare()
    process = ready(one)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(process), what="its end")
    assert run(one).facts["loaded"] == []
    again = ready(one)
    os.kill(again.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(again), what="its end")
    one.prepare()
    wait_until(lambda: [other for other in waiting() if other.pid != again.pid], what="another one")
    assert run(one).facts["loaded"] == ["early"]


def test_a_request_that_a_pipe_may_not_hold_goes_the_ordinary_way(spare: Callable[..., Spare]) -> None:
    one = spare("slow")  # it does not listen
    ready(one)
    order = Order("tell_loaded", numbers=(0.5,) * 10_000)
    with ChildProcess(CHILD, order, spare=one) as process:
        answer = process.wait()
    assert (answer.facts["loaded"], len(answer.numbers)) == ([], 10_000)


def test_nobody_waits_for_ever(spare: Callable[..., Spare], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []  # it may have ended before anybody could look for it

    def noted(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr("edged.jobs.spare.start", noted)
    spare(keep_s=0.01).prepare()
    wait_until(lambda: [one for one in started if one.returncode is not None], what="its end")


@pytest.mark.parametrize("more", [{"keep_s": 0.0}, {"available": 1}])
def test_none_is_started_without_wish_or_memory(spare: Callable[..., Spare], more: dict[str, float]) -> None:
    one = spare(**more)
    one.prepare()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "spare"], what="its thread")
    assert not waiting()


def test_closing_ends_it_even_while_it_loads(spare: Callable[..., Spare]) -> None:
    one = spare("slow")
    process = ready(one)
    one.close()
    assert has_ended(process)
    one.prepare()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "spare"], what="its thread")
    assert not waiting()


_PARENT = """
import threading
from edged.jobs.spare import Spare
from tests.jobs.child import CHILD

spare = Spare(CHILD, lambda: "early", keep_s=300.0, available=lambda: 2**40)
spare._prepare()
print(spare._waiting.pid, flush=True)
threading.Event().wait()
"""


def test_it_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    wait_until(lambda: has_ended(process), what="its end")


def test_one_at_work_ends_with_its_parent_whatever_became_of_the_thread_that_started_it() -> None:
    code = _PARENT.replace("spare._prepare()", "thread = threading.Thread(target=spare._prepare); thread.start()")
    code = code.replace("print(", "thread.join(); print(").replace(
        "threading.Event().wait()",
        "from edged.jobs.process import ChildProcess\nfrom tests.jobs.child import Order\n"
        "process = ChildProcess(CHILD, Order('start_another', numbers=(300,)), spare=spare)\n"
        "process.wait(lambda step: print(process.pid, flush=True))",
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        assert int(parent.stdout.readline()) == process.pid, "it works"
        (started,) = process.children()
        parent.kill()
    wait_until(lambda: has_ended(process), what="its end")
    started.kill()  # nothing has told this one
