"""Commands to each addressed device, and their jobs: ask and wait for the answer, or start a long one and follow it."""

from __future__ import annotations

import argparse
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from edged.contract.messages import FINAL, Job
from edged.ctl.client import Client
from edged.ctl.each import for_each
from edged.ctl.errors import NoAnswerError, UnreachableError
from edged.ctl.fleet import NAMED, addressed, listed
from edged.ctl.options import chosen, open_client
from edged.errors import CommandError, LinkError
from edged.plural import counted
from edged.terminal.program import DONE, FAILED
from edged.terminal.progress import progress
from edged.terminal.text import note, print_json, print_line

Describe = Callable[[Job], str]
T = TypeVar("T")


def ask(client: Client, device: str, cmd: str, wanted: Mapping[str, Any], *, keep_image: bool = False) -> Job | None:
    """Send a command to one device and wait for the end of its job.

    Args:
        client: An open client.
        device: Its id.
        cmd: The command.
        wanted: Its arguments; those that are None are left out.
        keep_image: Whether `client.image` is called next; then the caller forgets the command.

    Returns:
        The job that succeeded; None where it did not, which was said on stderr.
    """
    try:
        ack = client.command(device, cmd, wanted)
        *_, job = client.jobs(ack.id)
    except CommandError as error:  # the other devices are still asked
        note("edgectl", str(error))
        return None
    if not keep_image:
        client.forget(ack.id)
    return job if finish(job, device) == DONE else None


def ask_each(args: argparse.Namespace, cmd: str, wanted: Mapping[str, Any], show: Callable[[str, Job], None]) -> int:
    """Send a command to each addressed device, and show the job of each that succeeds.

    Args:
        args: The command line.
        cmd: The command.
        wanted: Its arguments; those that are None are left out.
        show: Called with the device's id and the job.

    Returns:
        The exit code.
    """
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        waiting: set[str] = set()
        act = _noted(waiting, unanswered_is_told(devices, lambda device: ask(client, device, cmd, wanted)))
        with _told_if_interrupted(lambda: _tell_of_unanswered(devices, waiting, "status")):
            for device, job in for_each(devices, act):
                if job is None:
                    worst = FAILED
                else:
                    show(device, job)
    return worst


def unanswered_is_told(devices: Sequence[str], act: Callable[[str], T | None]) -> Callable[[str], T | None]:
    """Return `act` for one of many devices: that one does not answer is said on stderr, and the others are asked.

    Where it is the only one, it is an error as any other (NoAnswerError).
    """

    def tolerant(device: str) -> T | None:
        try:
            return act(device)
        except NoAnswerError as error:
            if len(devices) == 1:
                raise
            text = str(error)
            note("edgectl", text if text.startswith(f"{device} ") else f"{device}: {text}")
            return None

    return tolerant


def _noted(waiting: set[str], act: Callable[[str], T]) -> Callable[[str], T]:
    """Return `act`, which keeps a device among those waited for until it returns; where it raises, for good."""

    def noting(device: str) -> T:
        waiting.add(device)
        came = act(device)
        waiting.discard(device)
        return came

    return noting


@contextmanager
def _told_if_interrupted(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` where Ctrl-C ends the block, or the broker that is away."""
    try:
        yield
    except (KeyboardInterrupt, LinkError):
        tell()
        raise


def answer(args: argparse.Namespace, describe: Callable[[dict[str, Any]], str]) -> Callable[[str, Job], None]:
    """Return a `show` for `ask_each`: a line per device, or with --json the job's report.

    Args:
        args: The command line.
        describe: Returns what the line says of a report.
    """

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        if args.json:
            print_json({"device": device, **report})
        else:
            print_line(f"{device}: {describe(report)}")

    return show


def start_each(
    args: argparse.Namespace,
    cmd: str,
    wanted: Mapping[str, Any],
    show: Callable[[str, Job], None],
    *,
    describe: Describe | None = None,
    silence_s: float | None = None,
    preliminary: Collection[str | None] = (),
) -> int:
    """Start a command that takes a while on each addressed device, then follow them to their ends.

    Args:
        args: The command line, with `--wait`. Without it nothing is followed: what each job's id is, is printed.
        cmd: The command.
        wanted: Its arguments; those that are None are left out.
        show: Called with the device's id and the job that has ended, to print its report for people.
        describe: See `follow`.
        silence_s: See `follow`.
        preliminary: Stages in which it may still be rejected; without `--wait` they are waited for.

    Returns:
        The exit code.
    """
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code

        started = _start(client, devices, cmd, wanted)
        if len(started) < len(devices):
            worst = FAILED
        if args.wait and len(started) > 1:
            for device, job in _follow_many(client, started, cmd, silence_s, quiet=args.json):
                if job is not None and args.json:
                    print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
                elif job is not None:
                    show(device, job)
                worst = max(worst, FAILED if job is None else finish(job, device))
            return worst
        for device, job_id in started.items():
            ended: Job | None
            if args.wait:
                ended = follow(
                    client,
                    job_id,
                    device=device,
                    cmd=cmd,
                    as_json=args.json,
                    describe=describe,
                    silence_s=silence_s,
                )
                if not args.json:
                    show(device, ended)
            else:
                ended = begun(client, job_id, device=device, preliminary=preliminary)
                status = "queued" if ended is None else ended.status
                if args.json:
                    print_json({"device": device, "id": job_id, "cmd": cmd, "status": status})
                elif ended is None:
                    print_line(f"{device}: job {job_id}; follow it with `edgectl jobs`, end it with `edgectl cancel`")
            client.forget(job_id)
            worst = max(worst, DONE if ended is None else finish(ended, device))
    return worst


def _start(client: Client, devices: Sequence[str], cmd: str, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return device → id of the job, of those that have accepted the command; the others' reasons go to stderr."""
    started: dict[str, str] = {}

    def start(device: str) -> None:
        try:
            started[device] = client.command(device, cmd, wanted).id
        except CommandError as error:  # the other devices are still asked
            note("edgectl", str(error))

    waiting: set[str] = set()

    def tell() -> None:
        _tell_of_those_that_go_on([device for device in devices if device in started])
        _tell_of_unanswered(devices, waiting - started.keys(), "jobs")

    with _told_if_interrupted(tell):
        for _ in for_each(devices, _noted(waiting, unanswered_is_told(devices, start))):
            pass
    return {device: started[device] for device in devices if device in started}


def _follow_many(
    client: Client, started: Mapping[str, str], cmd: str, silence_s: float | None, *, quiet: bool
) -> Iterator[tuple[str, Job | None]]:
    """Yield each device and its final job, as they end; None where a device fell silent, which was said on stderr."""
    shares = dict.fromkeys(started, 0.0)
    telling = threading.Lock()
    with progress(f"{cmd} on {len(started)} devices", quiet=quiet) as tell:

        def follow_one(device: str) -> Job | None:
            try:
                for job in client.jobs(started[device], silence_s=silence_s):
                    with telling:
                        shares[device] = 1.0 if job.status in FINAL else job.progress
                        ended = sum(share == 1.0 for share in shares.values())
                        tell(sum(shares.values()) / len(shares), text=f"{ended} ended", stage="running")
            except NoAnswerError as error:
                note("edgectl", f"{device}: {error}")
                return None
            client.forget(started[device])
            return job

        with _told_if_interrupted(
            lambda: _tell_of_those_that_go_on([device for device, share in shares.items() if share < 1.0])
        ):
            yield from for_each(list(started), follow_one)


def _tell_of_those_that_go_on(devices: Sequence[str]) -> None:
    if devices:
        note(
            "edgectl",
            f"no longer following {counted(len(devices), 'job')} that {'go' if len(devices) > 1 else 'goes'} on: "
            f"{listed(devices)}; `{_shown_by(devices, 'jobs')}` shows how far",
        )


def _tell_of_unanswered(devices: Sequence[str], waiting: Collection[str], command: str) -> None:
    """Say of many devices which were asked, and may do what they were asked for or not."""
    if len(devices) > 1 and (unsure := [device for device in devices if device in waiting]):
        note("edgectl", f"asked, and without an answer: {listed(unsure)}; `{_shown_by(unsure, command)}` tells more")


def _shown_by(devices: Sequence[str], command: str) -> str:
    """Return the command line that tells of devices: to copy, so that nothing in a name may mean more to a shell."""
    chosen = "…" if len(devices) > NAMED else shlex.quote(",".join(devices))
    return f"edgectl --device {chosen} {command}"


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
        UnreachableError: The broker is away; the user was told that the job goes on.
        KeyboardInterrupt: Ctrl-C; the user was told so, too.
    """
    try:
        return _follow(client, job_id, device, cmd, as_json, describe or _stage, silence_s)
    except (KeyboardInterrupt, UnreachableError):
        shown = f"`{_shown_by([device], 'jobs')}` shows how far"
        note("edgectl", f"no longer following {device}'s job {job_id}; it goes on, and {shown}")
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
    if not client.connected:  # nothing will be heard, and there may be many
        return None
    end = time.monotonic() + client.timeout_s
    with suppress(NoAnswerError, UnreachableError):
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
    note("edgectl", f"{device}: {job.cmd} {job.status}{reason}")
    return FAILED


def _stage(job: Job) -> str:
    return job.stage or job.status
