"""`edgectl models push --detector`: a detector goes to devices."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.errors import CommandError, ConfigError
from edged.terminal.program import DONE, FAILED

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client

_OF_A_CLASSIFIER = ("labels", "without_familiarity", "use", "base", "whole", "crop", "mean", "std", "bgr", "size")


def run(args: argparse.Namespace, *, rolled_out: bool) -> int:
    """Send a detector to devices and let each install it.

    Args:
        args: What the command line says.
        rolled_out: Whether it shall be watched and taken back, as a model that answers.

    Raises:
        ConfigError: An option belongs to a classifier, or the file is no .tflite file.
    """
    from edged.ctl.each import for_each
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import unanswered_is_told
    from edged.ctl.parcel import model_name, read_model
    from edged.terminal.text import file_name

    if given := [name for name in _OF_A_CLASSIFIER if getattr(args, name)]:
        raise ConfigError(f"--{given[0].replace('_', '-')} belongs to a classifier; a detector names nothing")
    if rolled_out:
        raise ConfigError("a detector answers no frame, and is not rolled out: send it without --canary and --waves")
    model = read_model(args.source)
    wanted = {
        "name": model_name(args.name, args.source.stem),
        "source": f"pushed from {file_name(args.source)}",
        "replace": args.replace,
    }
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        quiet = args.json or len(devices) > 1
        act = partial(_install, client, model=model, wanted=wanted, quiet=quiet)
        worst = devices.code
        for device, job in for_each(devices, unanswered_is_told(devices, act)):
            if job is None:
                worst = FAILED
            else:
                _show(device, job, as_json=args.json)
    return worst


def _install(client: Client, device: str, *, model: bytes, wanted: dict[str, Any], quiet: bool) -> Job | None:
    """Return the job that succeeded; None where none did, which was said on stderr."""
    from edged.ctl.installation import follow
    from edged.ctl.jobs import finish
    from edged.ctl.presence import PATIENCE_S, Presence
    from edged.ctl.upload import Upload
    from edged.terminal.text import note

    with Presence(client, device) as presence:
        try:
            sha256 = Upload(client, device, model, wanted["name"]).run(presence, quiet=quiet)
            told = {**wanted, "sha256": sha256}
            ack = client.command(device, "detectors_add", told, timeout_s=max(PATIENCE_S, client.timeout_s))
            job = follow(client, device, ack.id, wanted["name"], presence, quiet=quiet)
        except CommandError as error:  # the other devices are still asked
            note("edgectl", str(error))
            return None
    return None if job is None or finish(job, device) != DONE else job


def _show(device: str, job: Job, *, as_json: bool) -> None:
    from edged.terminal.text import print_json, print_line

    if as_json:
        print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
        return
    report = job.report or {}
    name = report.get("name")
    print_line(
        f'{device}: {name} ({report.get("id")}), a detector, installed; a camera with regions = "detector:{name}" uses '
        "it from the next start on"
    )
