"""`edged demo`: broker, daemon and subscriber on the photos that edged ships."""

from __future__ import annotations

import argparse

from edged.terminal.options import positive
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `demo`."""
    parser = commands.add(
        "demo",
        run,
        summary="see it work: an embedded broker, the daemon on shipped photos, and a subscriber",
        details="Prints what the daemon publishes.",
        examples="  edged demo --seconds 20\n  edged demo --retrain",
    )
    parser.add_argument("--seconds", type=positive, metavar="N", help="end after N seconds (default: Ctrl-C)")
    parser.add_argument("--retrain", action="store_true", help="show how the device learns new labels, then end")


def run(args: argparse.Namespace) -> int:
    """Run the demonstration."""
    from edged.demo import demonstrate

    return demonstrate(seconds=args.seconds, retrain=args.retrain)
