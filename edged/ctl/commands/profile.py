"""`edgectl profile`: where a model's time goes on a device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.ctl.options import open_client
from edged.terminal.options import add_profile_options
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.ctl.client import Client

_SILENCE_S = 30.0


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "profile",
        run,
        summary="where a model's time goes on a device: layers, batches, threads",
        details="The device measures beside its live classification and behind it in priority: stop its cameras "
        "(edgectl set --fps 0.1) for numbers of a quiet machine. Ctrl-C ends the watching, not the profile.",
        examples="  edgectl profile\n  edgectl --device tx2-01 profile inception_v3 --only layers,batch\n"
        "  edgectl profile --json | jq '.report.layers | sort_by(-.ms) | .[0]'",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="an installed model or a version (else what runs)")
    add_profile_options(parser)
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the profile to its end (yes)"
    )


def run(args: argparse.Namespace) -> int:
    """Start a profile on each addressed device, then follow one after another."""
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import begun, finish
    from edged.errors import CommandError
    from edged.terminal.text import note, print_json, print_line

    names = ("model", "only", "online", "batches", "batch_images", "seconds", "runtime", "threads")
    wanted = {name: getattr(args, name) for name in names}
    worst = DONE
    started: list[tuple[str, str]] = []
    with open_client(args) as client:
        for device in addressed(client, args.device):
            try:
                started.append((device, client.command(device, "profile", wanted).id))
            except CommandError as error:  # the other devices are still asked
                note(str(error))
                worst = FAILED
        for device, job_id in started:
            if args.wait:
                worst = max(worst, _follow(client, device, job_id, args))
                continue
            ended = begun(client, job_id, device=device)
            client.forget(job_id)
            status = "queued" if ended is None else ended.status
            if args.json:
                print_json({"device": device, "id": job_id, "cmd": "profile", "status": status})
            elif ended is None:
                print_line(f"{device}: job {job_id}; follow it with `edgectl jobs`, end it with `edgectl cancel`")
            worst = max(worst, DONE if ended is None else finish(ended, device))
    return worst


def _follow(client: Client, device: str, job_id: str, args: argparse.Namespace) -> int:
    from edged.ctl.jobs import finish, follow

    job = follow(
        client, job_id, device=device, cmd="profile", as_json=args.json, silence_s=max(_SILENCE_S, args.timeout)
    )
    client.forget(job_id)
    if not args.json and job.status == "succeeded" and job.report:
        _print(job.report, args)
    return finish(job, device)


def _print(values: dict[str, Any], args: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from edged.contract.reports import ProfileReport
    from edged.terminal.profile import print_profile
    from edged.terminal.tables import console
    from edged.terminal.text import harmless, note

    try:
        report = ProfileReport.model_validate(harmless(values))
    except ValidationError as error:  # a device of another version
        place = ".".join(map(str, error.errors()[0]["loc"]))
        note(f"the device's report is of another form ({place}); --json prints it as it is")
        return
    print_profile(console(), report, top=max(args.top, 0))
