"""`edgectl jobs` and `edgectl cancel`: what devices do that takes a while, and what they shall no longer do."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.errors import ConfigError
from edged.terminal.options import count
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client

_SHOWN = 8
"""Characters of a job's id in the table, which `cancel` and `jobs` take; more where two jobs begin alike."""

_ID = re.compile(r"\b[0-9a-f]{32}\b")
"""Of another job, in a reason."""


def register(commands: Commands) -> None:
    """Add both commands."""
    jobs = commands.add("jobs", run_jobs)
    jobs.add_argument("job", metavar="JOB", nargs="?", help="only this one, with its report: its id, or how it begins")
    jobs.add_argument("--limit", metavar="N", type=count, default=10, help="so many of each device, newest first (10)")
    cancel = commands.add("cancel", run_cancel)
    cancel.add_argument(
        "job", metavar="JOB", nargs="?", help="which, if several run: its id, or how it begins (see `edgectl jobs`)"
    )


def run_jobs(args: argparse.Namespace) -> int:
    """List trainings and profiles: those that run and the last ones; or show one.

    Of a device that is offline: the last one that it told of.

    Examples:
      edgectl jobs
      edgectl --device tx2-01 jobs --limit 5 --json
      edgectl jobs 4f1a
    """
    from edged.ctl.errors import NoAnswerError
    from edged.ctl.fleet import look, seen, where
    from edged.errors import EdgedError
    from edged.terminal.tables import console, print_part
    from edged.terminal.text import note, print_json

    _check(args.job)
    worst, shown = DONE, 0
    with open_client(args) as client:
        fleet = look(client, chosen(args))
        if not fleet.devices:
            raise NoAnswerError(f"no device {args.device or ''} at {where(client)}; {seen(fleet)}")
        for device in fleet.ids():
            known = fleet.devices[device]
            told: list[Job] = [] if known.job is None else [known.job]
            if known.online:
                try:
                    told = _ask(client, device, args.limit, args.job)
                except EdgedError as error:
                    note("edgectl", str(error))
                    worst = FAILED
            elif args.job is not None:
                told = [job for job in told if job.id.startswith(args.job)]
            shown += len(told)
            if args.json:
                for job in told:
                    print_json({"device": device, **as_json(job, online=known.online, report=args.job is not None)})
            elif told:
                print_part(console(), _table(device, told, online=known.online))
                if args.job is not None:
                    _print_report(told[0])
        if not shown and worst == DONE:
            note("edgectl", "no training yet" if args.job is None else f"no job {args.job}")
            worst = DONE if args.job is None else FAILED
    return worst


def run_cancel(args: argparse.Namespace) -> int:
    """End the training or profile that runs.

    The model that runs stays; what was computed so far is kept for the next training.

    Examples:
      edgectl cancel
      edgectl cancel 4f1a
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.text import print_json, print_line

    _check(args.job)

    def show(device: str, job: Job) -> None:
        if args.json:
            print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
        else:
            report = job.report or {}
            print_line(f"{device}: {report.get('cmd', 'job')} {report.get('job')} is being cancelled")

    return ask_each(args, "cancel", {"job": args.job}, show)


def as_json(job: Job, *, online: bool, report: bool = False) -> dict[str, Any]:
    """Return a job as an object. One that ran when its device fell silent is `unknown`, and `was` says what it was."""
    from edged.contract.messages import FINAL

    told: dict[str, Any] = job.model_dump(exclude_none=True, mode="json", exclude=set() if report else {"report"})
    if not online and job.status not in FINAL:
        told |= {"status": "unknown", "was": job.status}
    return told


def state_of(job: Job, *, online: bool) -> str:
    """Tell a job's state; nobody knows how one goes on whose device is offline."""
    from edged.contract.messages import FINAL
    from edged.terminal.text import percent

    how_far = f" {percent(job.progress)} {job.stage or ''}".rstrip() if job.status == "running" else ""
    state = f"{job.status}{how_far}"
    return state if online or job.status in FINAL else f"unknown, offline; was {state}"


def _check(job: str | None) -> None:
    if job is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", job):
        raise ConfigError(f"JOB {job!r}: a job's id is 1 to 64 of A-Z a-z 0-9 _ -")


def _ask(client: Client, device: str, limit: int, wanted: str | None) -> list[Job]:
    from pydantic import ValidationError

    from edged.contract.messages import Job
    from edged.ctl.errors import RejectedError

    ack = client.command(device, "jobs", {"limit": min(limit, 200), "job": wanted})
    *_, answer = client.jobs(ack.id)
    client.forget(ack.id)
    if answer.status != "succeeded":
        raise RejectedError(f"{device}: jobs {answer.status}: {answer.error}")
    told = []
    for state in (answer.report or {}).get("jobs") or ():
        try:
            told.append(Job.model_validate(state))
        except ValidationError:
            continue
    return told


def _table(device: str, jobs: list[Job], *, online: bool) -> Any:
    from rich import box
    from rich.table import Table

    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN

    colours = {"succeeded": "green", "running": "cyan", "failed": "red", "rejected": "yellow"}
    table = Table(title=text(device), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("job", no_wrap=True)
    for name in ("what", "state", "when (UTC)", "why"):
        table.add_column(name, overflow="fold")
    shown = shortened([job.id for job in jobs])
    for job in jobs:
        when = job.ts[:19].replace("T", " ")
        table.add_row(
            text(shown[job.id]),
            text(job.cmd),
            text(state_of(job, online=online), colours.get(job.status, "") if online else ""),
            text(when),
            text(_ID.sub(lambda id_: id_[0][:_SHOWN], job.error) if job.error else UNKNOWN),
        )
    return table


def shortened(ids: list[str]) -> dict[str, str]:
    """Return id → its first characters, as many as tell the ids apart, at least `_SHOWN`."""
    longest = max(map(len, ids), default=0)
    shown = next((n for n in range(_SHOWN, longest) if len({id_[:n] for id_ in ids}) == len(set(ids))), longest)
    return {id_: id_[:shown] for id_ in ids}


def _print_report(job: Job) -> None:
    from edged.contract.messages import FINAL
    from edged.ctl.commands.retrain import print_report, read_report

    report = job.report or {}
    if job.cmd == "profile" and job.status == "succeeded":
        from edged.contract.reports import ProfileReport
        from edged.terminal.profile import print_profile
        from edged.terminal.tables import console

        profiled = read_report(ProfileReport, report)
        if profiled is not None:
            print_profile(console(), profiled, top=20)
    elif job.cmd == "retrain" and job.status in FINAL:
        print_report(report)
