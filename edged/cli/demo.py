"""`edged demo`: broker, daemon and subscriber on the photos that edged ships."""

from __future__ import annotations

import argparse

from edged.terminal.options import positive
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `demo`."""
    parser = commands.add("demo", run)
    parser.add_argument("--seconds", type=positive, metavar="N", help="end after N seconds (default: Ctrl-C)")
    parser.add_argument("--console", action="store_true", help="also serve edgectl's web page on this machine")
    parser.add_argument("--retrain", action="store_true", help="show how the device learns new labels, then end")


def run(args: argparse.Namespace) -> int:
    """See it work: an embedded broker, the daemon on shipped photos and a drawing, and a subscriber.

    Prints what the daemon publishes.

    Examples:
      edged demo --seconds 20
      edged demo --retrain
      edged demo --console
    """
    from edged.process import limit_threads

    limit_threads()  # as the daemon does, before numpy is imported

    from edged.demo import demonstrate

    return demonstrate(seconds=args.seconds, retrain=args.retrain, console=args.console)
