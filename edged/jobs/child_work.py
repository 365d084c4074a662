"""A job whose work a child process does: the job tells how far it is, ends it when cancelled, and says how it ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edged.errors import ChildTimeoutError, RefusedError
from edged.jobs.process import Child, ChildProcess
from edged.jobs.runner import End, RunningJob, State

if TYPE_CHECKING:
    from edged.jobs.spare import Spare

log = logging.getLogger(__name__)


class Step(Protocol):
    """What such a child says on its way."""

    @property
    def stage(self) -> str:
        """The stage that it is in."""
        ...

    @property
    def fraction(self) -> float:
        """How much of the whole work is done, 0..1."""
        ...

    @property
    def detail(self) -> Mapping[str, Any]:
        """Numbers of this stage."""
        ...


Request = TypeVar("Request")
Progress = TypeVar("Progress", bound=Step)
Outcome = TypeVar("Outcome")


def done_by_child(
    job: RunningJob,
    child: Child[Request, Progress, Outcome],
    request: Request,
    *,
    timeout_s: float,
    limit: str = "",
    spare: Spare | None = None,
) -> Outcome | End | None:
    """Run a child process on the job's own thread.

    Args:
        job: It is told of each step, and ends the child when it is cancelled.
        child, request: Which, and what it is to do.
        timeout_s: Longest time it may take.
        limit: The setting that says so, for the error of a child that takes longer.
        spare: Where one may wait that has loaded its libraries.

    Returns:
        The child's outcome; or how the job ends without one, because what was asked for cannot be done or took too
        long; None: it was cancelled.

    Raises:
        EdgedError: The child has failed.
    """
    try:
        with ChildProcess(child, request, timeout_s=timeout_s, spare=spare) as process:
            log.info("%s runs in process %d", job, process.pid, extra={"JOB": job.id})
            return process.wait(
                lambda step: job.reach(State(step.stage, step.fraction, dict(step.detail))), job.cancelled
            )
    except RefusedError as error:
        return End("rejected", error=str(error))
    except ChildTimeoutError:
        return End("failed", error=f"not done after {f'{limit} = ' if limit else ''}{timeout_s:g} s")
