"""`edgectl retrain`: a new final layer from the images that a device has, and what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from edged.ctl.errors import DONE, FAILED
from edged.ctl.options import open_client
from edged.terminal.hyperparameters import add_hyperparameters, given_hyperparameters
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.contract.reports import ReportPart, TrainingReport
    from edged.ctl.client import Client

Report = TypeVar("Report", bound="ReportPart")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "retrain",
        run,
        summary="train a device's final layer anew on its labeled images",
        details="The device trains beside its live classification. The new model answers from then on if it is good\n"
        "enough on images that training never saw; else the job is rejected and the old one stays. What is\n"
        "not given is what the device's [retrain] says. Ctrl-C ends the watching, not the training.",
        examples="  edgectl retrain --lr 0.1\n  edgectl --device tx2-01 retrain --backbone inception_v3 --augment\n"
        "  edgectl --device all retrain --no-wait\n  edgectl retrain --json | jq .report.accuracy",
    )
    add_hyperparameters(parser)
    parser.add_argument("--backbone", metavar="NAME", help="an installed model, or auto (else that of what runs)")
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the training to its end (yes)"
    )


def run(args: argparse.Namespace) -> int:
    """Start a training on each addressed device, then follow one after another."""
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import begun, finish
    from edged.errors import CommandError
    from edged.terminal.text import note, print_json, print_line

    wanted = given_hyperparameters(args) | {"backbone": args.backbone}
    worst = DONE
    started: list[tuple[str, str]] = []
    with open_client(args) as client:
        for device in addressed(client, args.device):
            try:
                started.append((device, client.command(device, "retrain", wanted).id))
            except CommandError as error:  # the other devices are still asked
                note(str(error))
                worst = FAILED
        for device, job_id in started:
            if args.wait:
                worst = max(worst, _follow(client, device, job_id, args.json))
                continue
            ended = begun(client, job_id, device=device, preliminary=(None, "scan"))
            client.forget(job_id)
            status = "queued" if ended is None else ended.status
            if args.json:
                print_json({"device": device, "id": job_id, "cmd": "retrain", "status": status})
            elif ended is None:
                print_line(f"{device}: job {job_id}; follow it with `edgectl jobs`, end it with `edgectl cancel`")
            worst = max(worst, DONE if ended is None else finish(ended, device))
    return worst


def _follow(client: Client, device: str, job_id: str, as_json: bool) -> int:
    from edged.ctl.jobs import finish, follow
    from edged.terminal.text import print_line

    job = follow(client, job_id, device=device, as_json=as_json, describe=describe)
    client.forget(job_id)
    if not as_json and job.report:
        report = print_report(job.report)
        if report is not None and job.status == "succeeded":
            print_line(f"{device}: model {report.model} answers; `edgectl rollback` goes back")
    return finish(job, device)


def print_report(values: dict[str, Any]) -> TrainingReport | None:
    """Print the report of a training that has ended, as a device sent it; None: it cannot be read."""
    from edged.contract.reports import TrainingReport
    from edged.terminal.text import console, print_part
    from edged.terminal.training import report_tables

    report = read_report(TrainingReport, values)
    for part in () if report is None else report_tables(report):
        print_part(console(), part)
    return report


def read_report(kind: type[Report], values: dict[str, Any]) -> Report | None:
    """Return a report as a device sent it, its text harmless; None: it cannot be read, and the user was told so."""
    from pydantic import ValidationError

    from edged.errors import first_mistake
    from edged.terminal.text import note

    try:
        return kind.model_validate(harmless(values))
    except ValidationError as error:  # a device of another version
        note(f"the device's report is of another form ({first_mistake(error).key}); --json prints it as it is")
        return None


def describe(job: Job) -> str:
    """Tell what a training does right now."""
    from edged.terminal.training import describe as tell

    return tell(job.stage or job.status, harmless(job.report or {}) if job.status == "running" else {})


def harmless(value: Any) -> Any:
    """Return a report with the text in it cleaned: it comes from the wire and goes to a terminal."""
    from edged.terminal.text import clean

    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): harmless(item) for key, item in value.items()}
    if isinstance(value, list):
        return [harmless(item) for item in value]
    return value
