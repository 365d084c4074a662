"""`edgectl profile`: where a model's time goes on a device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.terminal.options import add_profile_options
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job

_SILENCE_S = 30.0


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("profile", run)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="an installed model or a version (else what runs)")
    add_profile_options(parser)
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the profile to its end (yes)"
    )


def run(args: argparse.Namespace) -> int:
    """Where a model's time goes on a device: layers, batches, threads.

    The device measures beside its live classification and behind it in priority: stop its cameras (edgectl set --fps
    0.1) for numbers of a quiet machine. Ctrl-C ends the watching, not the profile.

    Examples:
      edgectl profile
      edgectl --device tx2-01 profile inception_v3 --only layers,batch
      edgectl profile --json | jq '.report.layers | sort_by(-.ms) | .[0]'
    """
    from edged.ctl.jobs import start_each

    names = ("model", "only", "online", "batches", "batch_images", "seconds", "runtime", "threads")
    wanted = {name: getattr(args, name) for name in names}

    def show(device: str, job: Job) -> None:
        del device
        if job.status == "succeeded" and job.report:
            _print(job.report, max(args.top, 0))

    return start_each(args, "profile", wanted, show, silence_s=max(_SILENCE_S, args.timeout))


def _print(values: dict[str, Any], top: int) -> None:
    from edged.contract.reports import ProfileReport
    from edged.ctl.commands.retrain import read_report
    from edged.terminal.profile import print_profile
    from edged.terminal.tables import console

    report = read_report(ProfileReport, values)
    if report is None:
        return
    print_profile(console(), report, top=top)
