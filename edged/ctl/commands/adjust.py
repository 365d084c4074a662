"""`edgectl set`: change a running device until its daemon restarts."""

from __future__ import annotations

import argparse
import math

from edged.ctl.options import open_client
from edged.errors import ConfigError
from edged.terminal.options import count
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("set", run)
    parser.add_argument("--camera", metavar="C", help="which camera --fps is for (else every camera)")
    parser.add_argument("--fps", metavar="F", type=_fps, help="frames per second; 0: as fast as they can be classified")
    parser.add_argument("--top", metavar="K", type=count, help="how many labels a result lists")


def run(args: argparse.Namespace) -> int:
    """Change a running device: frames per second, top-k.

    The change holds until the daemon restarts; the configuration file is not touched.

    Examples:
      edgectl set --fps 5
      edgectl --device tx2-01 set --camera door --fps 0 --top 3
    """
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import finish
    from edged.errors import CommandError
    from edged.terminal.text import note, print_json, print_line

    if args.fps is None and args.top is None:
        raise ConfigError("set: nothing to change; give --fps, --top or both")
    change = {"camera": args.camera, "fps": args.fps, "top": args.top}
    told = " ".join(f"{key} {value:g}" for key, value in (("fps", args.fps), ("top", args.top)) if value is not None)
    where = f" ({args.camera})" if args.camera else ""
    worst = DONE
    with open_client(args) as client:
        for device in addressed(client, args.device):
            try:
                ack = client.command(device, "set", change)
            except CommandError as error:  # the other devices are still asked
                note("edgectl", str(error))
                worst = FAILED
                continue
            *_, job = client.jobs(ack.id)
            client.forget(ack.id)
            worst = max(worst, finish(job, device))
            if args.json:
                print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
            elif job.status == "succeeded":
                print_line(f"{device}{where}: {told}")
    return worst


def _fps(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to 1000 frames per second")
    return value
