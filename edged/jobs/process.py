"""A child process with typed messages: a request in, progress and one outcome out, all as JSON.

The parent starts `python -m MODULE` with the request as standard input and reads a JSON line per message from its
standard output. The module ends with `serve(…)`, which makes the process harmless to others and then does the work.
What libraries print there goes to standard error. Requests, progress and outcomes are dataclasses or pydantic models;
plain dicts pass unchecked.

An `EdgedError` that the work raises is raised again in the parent. A process that ends without an outcome has failed,
and a `ChildError` says how.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from edged import errors, process
from edged.errors import ChildError, ChildTimeoutError, EdgedError
from edged.jobs.standstill import Standstill

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from pydantic import TypeAdapter

    from edged.jobs.spare import Spare

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Progress = TypeVar("Progress")
Outcome = TypeVar("Outcome")

KILL_AFTER_S = 2.0
"""How long a process that was asked to end may take."""
_LEAVE_S = 0.5
"""How long one that has given its outcome may take before it is asked."""
_END_S = 30.0
"""How long one whose output has ended may take to end, too: one that was killed has closed its files before, and on a
busy machine the others go first."""
STANDSTILL_S = 60.0
"""How long one may do nothing at all. Where memory runs out at the wrong moment, Python itself waits for ever for a
thread that it could not begin (`threading.Thread.start`)."""
_LISTEN_S = 0.1
"""How often a wait looks whether it was cancelled."""
_READ_BYTES = 65536
_TAIL_BYTES = 65536
_LONGEST = 200
"""Characters of a line of standard error that an error quotes."""
_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory")


@dataclass(frozen=True)
class Child(Generic[Request, Progress, Outcome]):
    """What kind of child process: its module and the types of its messages. Both sides import this declaration.

    Attributes:
        module: Path of the module that ends with `serve`.
        name: What errors and the log call it, e.g. "trainer".
        request, progress, outcome: Types of the messages.
        niceness: Added to the parent's; more than 0 also takes away the privilege to preempt others.
        keeps_errors: Its standard error is kept, and its last line told where it fails; else it goes to the parent's.
    """

    module: str
    name: str
    request: type[Request]
    progress: type[Progress]
    outcome: type[Outcome]
    niceness: int = 10
    keeps_errors: bool = False


# -- the parent's side -------------------------------------------------------------------------------------------------


class ChildProcess(Generic[Request, Progress, Outcome]):
    """A child process that runs; a context manager that ends it, and whatever it has started.

    It dies with the *thread* that has made this object (PR_SET_PDEATHSIG means the thread): let the same thread wait
    for the outcome.

    Args:
        child: Which.
        request: What it is to do.
        timeout_s: From now on; after so long, `wait` raises. None: any time.
        memory_bytes: How much address space it may take beyond that of a bare Python. None: any.
        descriptors: Open files that it gets too, under the same numbers.
        spare: Where one may wait that is taken instead of starting another; not with `descriptors`, nor for a child
            whose errors are kept.

    Raises:
        ChildError: It cannot be started: too many processes or open files, or no memory.
    """

    def __init__(
        self,
        child: Child[Request, Progress, Outcome],
        request: Request,
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        descriptors: Sequence[int] = (),
        spare: Spare | None = None,
    ) -> None:
        self._child = child
        self._spare = spare
        self._descriptors = descriptors
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._rest = b""
        self._lines: list[bytes] = []
        self._done = False
        envelope = {"parent": os.getpid(), "memory": memory_bytes, "request": _to_json(child.request, request)}
        try:
            self._start(json.dumps(envelope).encode())
        except OSError as error:
            raise ChildError(f"the {child.name} cannot be started: {error.strerror or error}") from error
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)

    def _start(self, request: bytes) -> None:
        with contextlib.ExitStack() as opened:
            self._errors = opened.enter_context(process.file_in_memory("errors")) if self._child.keeps_errors else None
            waiting = None if self._spare is None else self._spare.take()
            if waiting is None or not _hand_over(waiting, request):
                # A file in memory, not a pipe: a child that does not read cannot make its parent wait.
                with process.file_in_memory("request") as stdin:
                    stdin.write(request)
                    stdin.seek(0)
                    waiting = start(self._child, stdin, self._errors, self._descriptors)
                process.sacrifice(waiting.pid)
            self._process = waiting
            self._output = opened.enter_context(self._process.stdout)  # type: ignore[arg-type]  # a pipe, see above
            self._opened = opened.pop_all()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @overload
    def wait(self, tell: Callable[[Progress], None] = ...) -> Outcome: ...

    @overload
    def wait(self, tell: Callable[[Progress], None], cancelled: threading.Event) -> Outcome | None: ...

    def wait(
        self, tell: Callable[[Progress], None] = lambda _: None, cancelled: threading.Event | None = None
    ) -> Outcome | None:
        """Wait for the outcome; None: cancelled.

        Args:
            tell: Called with each progress.
            cancelled: Once set, the wait ends; closing ends the process.

        Raises:
            EdgedError: What the child's work raised.
            ChildTimeoutError: No outcome in time.
            ChildError: The process ended without an outcome, or stands still; says how.
        """
        standstill = Standstill(self.pid, STANDSTILL_S)
        while True:
            message = self._receive(_LISTEN_S)
            if cancelled is not None and cancelled.is_set():
                return None
            if message is not None:
                ((kind, value),) = message.items()
                if kind == "outcome":
                    self._done = True
                    outcome: Outcome = _from_json(self._child.outcome, value)
                    return outcome
                if kind == "error":
                    self._done = True
                    raise self._error(*value)
                tell(_from_json(self._child.progress, value))
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise ChildTimeoutError(f"no result after {self._timeout_s:g} s; given up")
            if message is None and standstill.lasts():
                raise ChildError(f"the {self._child.name} has done nothing for {STANDSTILL_S:g} s; out of memory?")

    def close(self) -> None:
        """End the process and what it has started: ask first, kill after a while; does nothing a second time."""
        if self._process.returncode is not None:
            return
        if not self._has_ended(_LEAVE_S if self._done else 0):
            self._signal(signal.SIGTERM)
            self._has_ended(KILL_AFTER_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._opened.close()

    def __enter__(self) -> ChildProcess[Request, Progress, Outcome]:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message; None where none came in time."""
        while not self._lines:
            if not self._poll.poll(timeout_s * 1e3):
                return None
            chunk = os.read(self._output.fileno(), _READ_BYTES)
            if not chunk:
                self._has_ended(_END_S)
                raise self._end()
            *self._lines, self._rest = (self._rest + chunk).split(b"\n")
        message: dict[str, Any] = json.loads(self._lines.pop(0))
        return message

    def _error(self, name: str, text: str) -> EdgedError:
        """Return the error that the child has sent."""
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, EdgedError):
            return kind(text)
        if name == "MemoryError":
            return ChildError(f"the {self._child.name} has run out of memory", out_of_memory=True)
        if self._errors is None:
            return ChildError(f"internal error ({name}); the daemon's log tells more")
        return ChildError(f"internal error ({name}: {text})")

    def _end(self) -> ChildError:
        """Return how the process ended."""
        said = self._said()
        short = any(word in said for word in _NO_MEMORY)
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return ChildError(f"the {self._child.name} closed its output without a result")
        if ended.si_code == os.CLD_EXITED:
            how = f"ended without a result (exit code {ended.si_status})"
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            why = "; the log tells more" if self._errors is None else f": {lines[-1][:_LONGEST]}" if lines else ""
            return ChildError(f"the {self._child.name} {how}{why}", out_of_memory=short)
        try:
            name = signal.Signals(ended.si_status).name
        except ValueError:
            name = "unknown"
        killed = ended.si_status == signal.SIGKILL
        how = f"was killed by signal {ended.si_status} ({name})" + ("; out of memory?" if killed or short else "")
        return ChildError(f"the {self._child.name} {how}", out_of_memory=killed or short)

    def _said(self) -> str:
        """Return the end of what was kept of standard error."""
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL_BYTES))
        return self._errors.read().decode(errors="replace")

    def _has_ended(self, timeout_s: float) -> bool:
        """Wait for the end, but leave its id taken: until the last wait no other process can get it."""
        end = time.monotonic() + timeout_s
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def start(
    child: Child[Any, Any, Any],
    stdin: BinaryIO | int,
    errors: BinaryIO | None = None,
    descriptors: Sequence[int] = (),
    *,
    arguments: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a child's module; for `ChildProcess` and `Spare`.

    Raises:
        OSError: Too many processes or open files, or no memory.
    """
    return subprocess.Popen(
        [sys.executable, "-m", child.module, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        pass_fds=descriptors,
        env=_environment(),
        start_new_session=True,  # Ctrl-C in a terminal is for the parent; and a group can be ended whole
    )


def _hand_over(waiting: subprocess.Popen[bytes], request: bytes) -> bool:
    """Give a process that waits its request; False: it has ended, and is done with."""
    assert waiting.stdin is not None  # a pipe, see `Spare`
    try:
        if len(request) <= select.PIPE_BUF:  # else it might make this one wait
            waiting.stdin.write(request)
            waiting.stdin.close()
            return True
    except BrokenPipeError:
        pass
    end(waiting)
    return False


def end(waiting: subprocess.Popen[bytes]) -> None:
    """End a process that has got no request: there is nothing that it could lose."""
    waiting.kill()
    waiting.wait()
    for pipe in (waiting.stdin, waiting.stdout):
        if pipe is not None:
            pipe.close()


def _environment() -> dict[str, str]:
    """Return the child's environment: its modules come from where ours do, not from the current folder.

    Python 3.10 does not know PYTHONSAFEPATH and looks into the current folder first all the same.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    process.limit_threads(environment)
    return environment


# -- the child's side --------------------------------------------------------------------------------------------------


def serve(
    child: Child[Request, Progress, Outcome],
    work: Callable[[Request, Callable[[Progress], None]], Outcome],
    load: Callable[[str], None] | None = None,
) -> NoReturn:
    """Do what the parent asks for, tell it the outcome, and end the process.

    Args:
        child: Which child this is.
        work: Gets the request and a function that tells progress, from any thread; imports heavy libraries itself, so
            that this process has stepped back before. What it raises becomes the parent's error.
        load: Imports what the work will need, where this process was started before there is a request; see `Spare`.
            It gets the argument with which that was done.
    """
    output, lock = process.take_output(), threading.Lock()

    def say(kind: str, value: Any) -> None:
        line = json.dumps({kind: value}).encode() + b"\n"
        if kind != "progress":  # the last message: whoever reads it may end this process at once
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
        try:
            with lock:
                output.write(line)
                output.flush()
        except BrokenPipeError:  # nobody listens any more
            os._exit(1)

    early = load is not None and len(sys.argv) > 1
    if early and load is not None:
        process.step_back(child.niceness)
        with contextlib.suppress(Exception):  # the work will say what is missing
            load(sys.argv[1])
            kinds: tuple[Any, ...] = (child.request, child.progress, child.outcome)
            for kind in kinds:
                _adapter(kind)
    request = sys.stdin.read()
    if not request:  # nobody needs this process any more
        os._exit(0)
    given = json.loads(request)
    process.die_with_parent(given["parent"])
    if not early:
        process.step_back(child.niceness)
    if given["memory"] is not None:
        process.limit_memory(given["memory"])
    logging.basicConfig(level=logging.WARNING, format=f"{child.name}: %(message)s")
    try:
        outcome = work(
            _from_json(child.request, given["request"]),
            lambda progress: say("progress", _to_json(child.progress, progress)),
        )
        say("outcome", _to_json(child.outcome, outcome))
    except (EdgedError, MemoryError) as error:
        say("error", [type(error).__name__, str(error)])
    except Exception as error:  # the top of a process
        log.exception("the %s has failed", child.name)
        say("error", [type(error).__name__, str(error)])
    os._exit(0)  # some runtimes crash while they unload


# -- both --------------------------------------------------------------------------------------------------------------


def _to_json(kind: Any, value: Any) -> Any:
    return value if kind is dict else _adapter(kind).dump_python(value, mode="json")


def _from_json(kind: Any, value: Any) -> Any:
    return value if kind is dict else _adapter(kind).validate_python(value)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # a process whose memory is measured talks in dicts, and does without

    return TypeAdapter(kind)
