"""A child process that does what its request says: the other end for tests of `edged.jobs.process`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edged.errors import ModelError, RefusedError
from edged.jobs.process import Child, serve


@dataclass(frozen=True)
class Order:
    """What to do.

    Attributes:
        task: Name of a function below, without `_do_`.
        path: For the task.
        numbers: For the task.
    """

    task: str
    path: Path = Path()
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Step:
    """A number, and whatever else."""

    number: int
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        return f"stage {self.number}"

    @property
    def fraction(self) -> float:
        return self.number / 4


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    task: str
    path: Path
    numbers: tuple[float, ...]
    facts: dict[str, Any] = field(default_factory=dict)


CHILD = Child("tests.jobs.child", "tested process", Order, Step, Answer)
QUIET = replace(CHILD, keeps_errors=True)


def work(order: Order, tell: Callable[[Step], None]) -> Answer:
    """Do what is asked for."""
    facts = globals()[f"_do_{order.task}"](order, tell)
    return Answer(order.task, order.path, order.numbers, facts or {})


def _do_nothing(_: Order, __: Callable[[Step], None]) -> None:
    pass


def _do_count(order: Order, tell: Callable[[Step], None]) -> None:
    for number in range(int(order.numbers[0])):
        tell(Step(number, {"text": "ü\n", "nothing": None}))


def _do_chatter(_: Order, tell: Callable[[Step], None]) -> None:
    print("printed by Python")
    os.write(1, b'written by a library\n{"outcome": 1}\n')
    tell(Step(1))
    subprocess.run(["echo", "printed by a program"], check=True)


def _do_facts(_: Order, __: Callable[[Step], None]) -> dict[str, Any]:
    return {
        "nice": os.nice(0),
        "policy": os.sched_getscheduler(0),
        "oom": int(Path("/proc/self/oom_score_adj").read_text()),
        "session": os.getsid(0) == os.getpid(),
        "blas": os.environ["OPENBLAS_NUM_THREADS"],
        "numpy": "numpy" in sys.modules,
        "cwd": str(Path.cwd()),
        "stdin": sys.stdin.read(),
    }


def _do_sleep(order: Order, tell: Callable[[Step], None]) -> None:
    tell(Step(0))
    time.sleep(order.numbers[0])


def _do_tidy_up(order: Order, tell: Callable[[Step], None]) -> None:
    """Leave a mark when asked to end."""

    def end(_: int, __: object) -> None:
        order.path.write_text("tidied up")
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    _do_sleep(order, tell)


def _do_deaf(order: Order, tell: Callable[[Step], None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _do_sleep(order, tell)


def _do_start_another(order: Order, tell: Callable[[Step], None]) -> None:
    """Start a process, tell its id, and end, or wait for it."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    tell(Step(other.pid))
    time.sleep(order.numbers[0])


def _do_die(order: Order, tell: Callable[[Step], None]) -> None:
    tell(Step(0))
    os.kill(os.getpid(), int(order.numbers[0]))


def _do_leave(order: Order, _: Callable[[Step], None]) -> None:
    sys.stderr.write("first line\n\nthe reason \n\n")
    sys.stderr.flush()
    os._exit(int(order.numbers[0]))


def _do_refuse(_: Order, __: Callable[[Step], None]) -> None:
    raise ModelError("no such model: ü")


def _do_decline(_: Order, __: Callable[[Step], None]) -> None:
    raise RefusedError("not this one: ü")


def _do_fail(_: Order, __: Callable[[Step], None]) -> None:
    raise KeyError("a defect")


def _do_take(order: Order, _: Callable[[Step], None]) -> None:
    bytearray(int(order.numbers[0]))


def _do_abort(_: Order, __: Callable[[Step], None]) -> None:
    sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
    sys.stderr.flush()
    os.abort()


LOADED: list[str] = []
"""What this process was started with before there was a request."""


def load(argument: str) -> None:
    """Note the argument; "slow" takes for ever, "broken" fails."""
    LOADED.append(argument)
    if argument == "slow":
        time.sleep(300)
    if argument == "broken":
        raise ImportError(argument)


def _do_tell_loaded(order: Order, tell: Callable[[Step], None]) -> dict[str, Any]:
    return {"loaded": LOADED, "pid": os.getpid(), "nice": os.nice(0)}


if __name__ == "__main__":
    serve(CHILD, work, load)
