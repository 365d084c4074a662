"""`edgectl retrain`: a new final layer from the images that a device has, and what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edged.ctl.options import open_client
from edged.terminal.options import add_hyperparameters, given_hyperparameters
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "retrain",
        run,
        summary="train a device's final layer anew on its labeled images",
        details="The device trains beside its live classification. The new model answers from then on if it is good "
        "enough on images that training never saw; else the job is rejected and the old one stays. What is "
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
    from edged.terminal.tables import console, print_part
    from edged.terminal.text import harmless, print_line

    job = follow(client, job_id, device=device, cmd="retrain", as_json=as_json, describe=describe)
    client.forget(job_id)
    if not as_json and job.report:
        from edged.terminal.training import report_tables

        screen = console()
        report = harmless(job.report)
        for part in report_tables(report):
            print_part(screen, part)
        if job.status == "succeeded":
            print_line(f"{device}: model {report.get('model')} answers; `edgectl rollback` goes back")
    return finish(job, device)


def describe(job: Job) -> str:
    """Tell what a training does right now."""
    from edged.terminal.text import harmless
    from edged.terminal.training import describe as tell

    return tell(job.stage or job.status, harmless(job.report or {}) if job.status == "running" else {})
