"""`edged demo`: broker, daemon and subscriber on the photos that edged ships."""

from __future__ import annotations

import argparse
import math
from typing import Any


def register(subparsers: Any) -> None:
    """Add `demo`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="see it work: an embedded broker, the daemon on shipped photos, and a subscriber",
        description="Run an embedded MQTT broker, the daemon on photos that edged ships, and print what it publishes.",
    )
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="end after N seconds (default: Ctrl-C)")
    parser.add_argument("--retrain", action="store_true", help="show how the device learns new labels, then end")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number of seconds greater than 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Run the demonstration."""
    from edged.demo import demonstrate

    return demonstrate(seconds=args.seconds, retrain=args.retrain)
