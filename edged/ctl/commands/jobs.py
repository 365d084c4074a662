"""`edgectl jobs` and `edgectl cancel`: what devices were asked to do that takes a while, and no longer want."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.ctl.errors import DONE, FAILED
from edged.ctl.options import count, open_client
from edged.errors import ConfigError
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client

_SHOWN = 12
"""Digits of a job's id: `cancel` needs no more."""


def register(commands: Commands) -> None:
    """Add both commands."""
    jobs = commands.add(
        "jobs",
        run_jobs,
        summary="list trainings: those that run and the last ones",
        details="Of a device that is offline: the last one that it told of.",
        examples="  edgectl jobs\n  edgectl --device tx2-01 jobs --limit 5 --json",
    )
    jobs.add_argument("--limit", metavar="N", type=count, default=10, help="so many of each device, newest first (10)")
    cancel = commands.add(
        "cancel",
        run_cancel,
        summary="end a training that runs",
        details="The model that runs stays; what was computed so far is kept for the next training.",
        examples="  edgectl cancel 4f1a",
    )
    cancel.add_argument("job", metavar="JOB", help="the job's id, or its first digits (see `edgectl jobs`)")


def run_jobs(args: argparse.Namespace) -> int:
    """Ask those online; take the retained state of the others."""
    from edged.ctl.errors import NoAnswerError
    from edged.ctl.fleet import look, seen, where
    from edged.errors import EdgedError
    from edged.terminal.text import console, note, print_json

    worst, shown = DONE, 0
    with open_client(args) as client:
        fleet = look(client, args.device)
        if not fleet.devices:
            raise NoAnswerError(f"no device {args.device or ''} at {where(client)}; {seen(fleet)}")
        for device in fleet.ids():
            known = fleet.devices[device]
            told: list[Job] = [] if known.job is None else [known.job]
            if known.online:
                try:
                    told = _ask(client, device, args.limit)
                except EdgedError as error:
                    note(str(error))
                    worst = FAILED
            if args.json:
                for job in told:
                    print_json({"device": device, **job.model_dump(exclude_none=True, mode="json", exclude={"report"})})
            elif told:
                console().print(_table(device, told))
                shown += 1
        if not args.json and not shown and worst == DONE:
            note("no training yet")
    return worst


def run_cancel(args: argparse.Namespace) -> int:
    """Cancel on the addressed device, or with `--device all` on whichever runs it."""
    import re

    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import finish
    from edged.terminal.text import print_json, print_line

    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", args.job):
        raise ConfigError(f"JOB {args.job!r}: a job's id is 1 to 64 of A-Z a-z 0-9 _ -")
    worst = DONE
    with open_client(args) as client:
        for device in addressed(client, args.device):
            ack = client.command(device, "cancel", {"job": args.job})
            *_, job = client.jobs(ack.id)
            client.forget(ack.id)
            worst = max(worst, finish(job, device))
            if args.json:
                print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
            elif job.status == "succeeded":
                print_line(f"{device}: job {(job.report or {}).get('job')} is being cancelled")
    return worst


def _ask(client: Client, device: str, limit: int) -> list[Job]:
    from pydantic import ValidationError

    from edged.contract.messages import Job
    from edged.ctl.errors import RejectedError

    ack = client.command(device, "jobs", {"limit": min(limit, 200)})
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


def _table(device: str, jobs: list[Job]) -> Any:
    from rich import box
    from rich.table import Table

    from edged.terminal.text import UNKNOWN, percent, text

    colours = {"succeeded": "green", "running": "cyan", "failed": "red", "rejected": "yellow"}
    table = Table(title=text(device), title_justify="left", box=box.SIMPLE)
    for name in ("job", "what", "state", "when (UTC)", "why"):
        table.add_column(name, overflow="fold")
    for job in jobs:
        state = f"{job.status} {percent(job.progress)} {job.stage or ''}" if job.status == "running" else job.status
        when = job.ts[:19].replace("T", " ")
        table.add_row(
            text(job.id),
            text(job.cmd),
            text(state, colours.get(job.status, "")),
            text(when),
            text(job.error or UNKNOWN),
        )
    return table
