"""`edgectl retrain`: a new final layer from the images that a device has, and what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from edged.terminal.options import add_accept, add_hyperparameters, add_limits, given_hyperparameters
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.contract.reports import ReportPart, TrainingReport

Report = TypeVar("Report", bound="ReportPart")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("retrain", run)
    add_hyperparameters(parser)
    parser.add_argument("--backbone", metavar="NAME", help="an installed model, or auto (else that of what runs)")
    add_accept(parser)
    add_limits(parser, ", with --backbone auto")
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the training to its end (yes)"
    )


def run(args: argparse.Namespace) -> int:
    """Train a device's final layer anew on its labeled images.

    The device trains beside its live classification. The new model answers from then on if it is better than the
    current one, or shown to be no more than the tolerance worse, on images that neither was made of; if it is worse, or
    too few images tell, the job is rejected and the old one stays. What is not given is what the device's [retrain]
    says. Ctrl-C ends the watching, not the training.

    Examples:
      edgectl retrain --lr 0.1
      edgectl retrain --accept
      edgectl --device tx2-01 retrain --backbone inception_v3 --augment
      edgectl retrain --backbone auto --within 20
      edgectl --device all retrain --no-wait
      edgectl retrain --json | jq .report.accuracy
    """
    from edged.ctl.jobs import start_each

    wanted = given_hyperparameters(args) | {
        "backbone": args.backbone,
        "within_ms": args.within,
        "memory_mb": args.memory,
        "accept": args.accept or None,
    }
    return start_each(args, "retrain", wanted, _print, describe=describe, preliminary=(None, "scan"))


def _print(device: str, job: Job) -> None:
    from edged.terminal.text import print_line

    report = print_report(job.report) if job.report else None
    if report is not None and job.status == "succeeded":
        print_line(f"{device}: model {report.model} answers; `edgectl rollback` goes back")


def print_report(values: dict[str, Any]) -> TrainingReport | None:
    """Print the report of a training that has ended, as a device sent it; None: it cannot be read."""
    from edged.contract.reports import TrainingReport
    from edged.terminal.tables import console, print_part
    from edged.terminal.training import report_tables

    report = read_report(TrainingReport, values)
    for part in () if report is None else report_tables(report):
        print_part(console(), part)
    return report


def read_report(kind: type[Report], values: dict[str, Any]) -> Report | None:
    """Return a report as a device sent it, its text harmless; None: it cannot be read, and the user was told so."""
    from pydantic import ValidationError

    from edged.errors import first_mistake
    from edged.terminal.text import harmless, note

    try:
        return kind.model_validate(harmless(values))
    except ValidationError as error:  # a device of another version
        key = first_mistake(error).key
        note("edgectl", f"the device's report is of another form ({key}); --json prints it as it is")
        return None


def describe(job: Job) -> str:
    """Tell what a training does right now."""
    from edged.terminal.text import harmless
    from edged.terminal.training import describe as tell

    return tell(job.stage or job.status, harmless(job.report or {}) if job.status == "running" else {})
