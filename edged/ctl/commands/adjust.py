"""`edgectl set`: change a running device until its daemon restarts."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from edged.errors import ConfigError
from edged.terminal.options import count
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.contract.messages import Job


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("set", run)
    parser.add_argument("--camera", metavar="C", help="which camera --fps is for (else every camera)")
    parser.add_argument("--fps", metavar="F", type=_fps, help="frames per second; 0: as fast as they can be classified")
    parser.add_argument("--top", metavar="K", type=count, help="how many labels a result lists")
    parser.add_argument("--lr", metavar="LR", type=_lr, help="learning rate of every retrain that names none")


def run(args: argparse.Namespace) -> int:
    """Change a running device: frames per second, top-k, learning rate.

    The change holds until the daemon restarts; the configuration file is not touched.

    Examples:
      edgectl set --fps 5
      edgectl --device tx2-01 set --camera door --fps 0 --top 3
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.text import print_json, print_line

    values = {"fps": args.fps, "top": args.top, "lr": args.lr}
    if all(value is None for value in values.values()):
        raise ConfigError("set: nothing to change; give --fps, --top or --lr")
    change = {"camera": args.camera, **values}
    told = " ".join(f"{key} {value:g}" for key, value in values.items() if value is not None)
    where = f" ({args.camera})" if args.camera else ""

    def show(device: str, job: Job) -> None:
        if args.json:
            print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
        else:
            print_line(f"{device}{where}: {told}")

    return ask_each(args, "set", change, show)


def _lr(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a learning rate above 0, at most 100")
    return value


def _fps(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to 1000 frames per second")
    return value
