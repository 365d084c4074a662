"""Jobs that last: one of each kind at a time, on a thread of its own, told of again and again, and cancelled by id."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from edged.contract.messages import Job
from edged.errors import CommandError, EdgedError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Attributes:
        command: The command that starts it.
        noun: What people call it.
        pulse_s: The job's state is published this often, also when nothing has changed: its follower knows that the
            device lives.
    """

    command: str
    noun: str
    pulse_s: float


@dataclass(frozen=True, slots=True)
class State:
    """What a running job tells; one value, so that no thread sees half of a change."""

    stage: str | None = None
    progress: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended by itself.

    Attributes:
        status: "rejected": it cannot be done.
        report: As far as it came.
        error: Why not succeeded; one line.
    """

    status: Literal["succeeded", "rejected", "failed"]
    report: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class RunningJob:
    """The job at hand, as the work sees it.

    Args:
        kind: Of job.
        id_: The command's id, and the job's.
        state: The first one.
        publish: Takes states of the job.

    Attributes:
        cancelled: It shall end.
        state: The newest one.
    """

    def __init__(self, kind: Kind, id_: str, state: State, publish: Callable[[Job], None]) -> None:
        self.kind = kind
        self.id = id_
        self.cancelled = threading.Event()
        self.state = state
        self._publish = publish
        self._deciding = threading.Lock()
        self._decided = self._stopping = False
        self._why = "cancelled on request"
        self._telling = threading.Lock()

    def __str__(self) -> str:
        return f"{self.kind.noun} {self.id}"

    def reach(self, state: State) -> None:
        """Take a new state; another stage is published at once."""
        new = state.stage != self.state.stage
        self.state = state
        if new:
            self._tell()

    def decide(self) -> bool:
        """Tell whether what has come out counts, from now on for good; False: it was cancelled before.

        When the daemon stops, work that is done still counts.
        """
        with self._deciding:
            self._decided = self._decided or self._stopping or not self.cancelled.is_set()
            return self._decided

    # -- called by the runner ------------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Let it end; False: too late, its end is decided."""
        with self._deciding:
            if not self._decided:
                self.cancelled.set()
            return not self._decided

    def stop(self) -> None:
        """Let it end because the daemon does."""
        with self._deciding:
            self._stopping = True
            self._why = "the daemon stopped"
            self.cancelled.set()

    @contextmanager
    def pulse(self) -> Iterator[None]:
        """Publish the state again and again; nothing of it follows the end.

        On a thread of its own: starting a process, loading a model or a slow disk must not make the job fall silent.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name=f"{self.kind.noun}-progress")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def end(self, end: End | None) -> None:
        """Publish how it ended; None: cancelled."""
        error = self._why if end is None else end.error
        status = "cancelled" if end is None else end.status
        self._publish(
            Job(
                id=self.id,
                cmd=self.kind.command,
                status=status,
                progress=1.0 if status == "succeeded" else self.state.progress,
                report=None if end is None else end.report or None,
                error=error,
            )
        )
        log.info("%s: %s%s", self, status, f": {error}" if error else "", extra={"JOB": self.id})

    def _beat(self, ended: threading.Event) -> None:
        try:
            self._tell()
            while not ended.wait(self.kind.pulse_s):
                self._tell()
        except Exception:  # the top of a thread; the work goes on
            log.exception("%s: its progress is no longer told", self)

    def _tell(self) -> None:
        with self._telling:  # in the order in which it happened
            state = self.state
            self._publish(
                Job(
                    id=self.id,
                    cmd=self.kind.command,
                    status="running",
                    stage=state.stage,
                    progress=round(min(state.progress, 1.0), 4),
                    report=state.detail or None,
                )
            )


Work = Callable[[RunningJob], "End | None"]
"""Does a job, on a thread that lives as long as it takes; None: it was cancelled. An `EdgedError` is a failed job."""


class JobRunner:
    """Starts jobs, one of each kind at a time, and ends them. Safe to use from any thread.

    Args:
        publish: Takes states of jobs.
    """

    def __init__(self, publish: Callable[[Job], None]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._running: dict[str, RunningJob] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self, kind: Kind, id_: str, work: Work, state: State = State()) -> None:
        """Begin a job, which goes on by itself; where one of its kind is running, this one is rejected."""
        with self._lock:
            busy = self._running.get(kind.command)
            if busy is None and not self._stopping:
                job = RunningJob(kind, id_, state, self._publish)
                thread = threading.Thread(target=self._run, args=(job, work), name=kind.noun)
                self._running[kind.command] = job
                thread.start()
                # One that ended just now may still be publishing its end, which `stop` waits for too.
                self._threads = [one for one in self._threads if one.is_alive()] + [thread]
                return
        self.reject(kind, id_, "the daemon stops" if busy is None else f"a {kind.noun} is running: {busy.id}")

    def reject(self, kind: Kind, id_: str, error: str) -> None:
        """Say that a job cannot be done; it never ran."""
        RunningJob(kind, id_, State(), self._publish).end(End("rejected", error=error))

    def cancel(self, id_: str | None) -> RunningJob:
        """Let a running job end, and return it; its own state says so.

        Args:
            id_: Its id, or the id's first digits; None: whichever runs.

        Raises:
            CommandError: None is meant, or more than one, or it is too late.
        """
        with self._lock:
            running = list(self._running.values())
        told = ", ".join(f"{job.kind.command} {job.id}" for job in running)
        meant = [job for job in running if job.id.startswith(id_ or "")]
        if not meant:
            raise CommandError(f"no job {id_} is running; {told or 'none'} is" if id_ else "nothing is running")
        if len(meant) > 1:
            raise CommandError(f"several jobs are running, name one: {told}")
        (job,) = meant
        if not job.cancel():
            raise CommandError(f"{job} has just ended")
        return job

    def request_stop(self) -> None:
        """Cancel what runs, and start nothing any more; returns at once."""
        with self._lock:
            self._stopping = True
            for job in self._running.values():
                job.stop()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Cancel what runs and wait for its end; False: it has not ended within `timeout_s`."""
        self.request_stop()
        with self._lock:
            threads = self._threads
        end = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, job: RunningJob, work: Work) -> None:
        with job.pulse():
            end = self._carry_out(job, work)
        with self._lock:
            del self._running[job.kind.command]
        job.end(end)

    def _carry_out(self, job: RunningJob, work: Work) -> End | None:
        try:
            end = work(job)
        except EdgedError as error:
            end = End("failed", error=str(error))
        except Exception:  # the top of a thread
            log.exception("%s has failed", job)
            end = End("failed", error="internal error; the daemon's log tells more")
        return end if end is not None and job.decide() else None
