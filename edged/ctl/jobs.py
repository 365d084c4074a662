"""Follow a job of any command: a progress bar on a terminal, lines in a log, the final state for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress

from edged.contract.messages import FINAL, Job
from edged.ctl.client import Client
from edged.ctl.errors import NoAnswerError
from edged.terminal.program import DONE, FAILED
from edged.terminal.progress import progress
from edged.terminal.text import note, print_json

Describe = Callable[[Job], str]


def follow(
    client: Client,
    job_id: str,
    *,
    device: str,
    cmd: str,
    as_json: bool = False,
    describe: Describe | None = None,
    silence_s: float | None = None,
) -> Job:
    """Follow a job to its end and show how far it is, on stderr.

    Args:
        client: An open client.
        job_id: The id in the ack.
        device: Whose job it is.
        cmd: The command that started it.
        as_json: Print only the final job, as one line with the device's id, on stdout.
        describe: Returns what stands beside the bar, e.g. loss and accuracy from `job.report`. None: the stage.
        silence_s: How long the device may say nothing; None: the client's timeout.

    Returns:
        The final job; `finish` turns it into an exit code.

    Raises:
        NoAnswerError: The device fell silent.
        KeyboardInterrupt: Ctrl-C; the user was told that the job goes on.
    """
    try:
        return _follow(client, job_id, device, cmd, as_json, describe or _stage, silence_s)
    except KeyboardInterrupt:
        note(f"no longer following {device}'s job {job_id}; it goes on")
        raise


def _follow(
    client: Client, job_id: str, device: str, cmd: str, as_json: bool, describe: Describe, silence_s: float | None
) -> Job:
    states = client.jobs(job_id, device=device, silence_s=silence_s)
    if as_json:
        *_, last = states
        print_json({"device": device, **last.model_dump(exclude_none=True, mode="json")})
        return last
    with progress(f"{device} {cmd}") as tell:
        for job in states:
            tell(job.progress, text=describe(job), stage=job.stage or job.status)
    return job


def begun(client: Client, job_id: str, *, device: str, preliminary: Collection[str | None] = ()) -> Job | None:
    """Wait until a job that nobody will follow is under way, or has ended already.

    Args:
        client: An open client.
        job_id: The id in the ack.
        device: Whose job it is.
        preliminary: Stages in which it may still be rejected.

    Returns:
        The job, if it has ended. None: it is under way, or has not said so within the client's timeout.
    """
    end = time.monotonic() + client.timeout_s
    with suppress(NoAnswerError):
        for job in client.jobs(job_id, device=device):
            if job.status in FINAL:
                return job
            under_way = job.status == "running" and job.stage not in preliminary
            if under_way or time.monotonic() > end:
                break
    return None


def finish(job: Job, device: str) -> int:
    """Return the exit code of a final job; where it did not succeed, say so on stderr."""
    if job.status == "succeeded":
        return DONE
    reason = f": {job.error}" if job.error else ""
    note(f"{device}: {job.cmd} {job.status}{reason}")
    return FAILED


def _stage(job: Job) -> str:
    return job.stage or job.status
