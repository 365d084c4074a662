"""`edged run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.cli.options import add_config
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `run`."""
    parser = commands.add(
        "run",
        run,
        summary="classify frames and publish results until stopped",
        details="This is the daemon, in the foreground.",
        examples="  edged run --config /etc/edged/edged.toml\n  edged run --trace trace.json",
    )
    add_config(parser)
    parser.add_argument("--verbose", action="store_true", help="log per-frame detail")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace that opens in ui.perfetto.dev")


def run(args: argparse.Namespace) -> int:
    """Load the configuration and run until a signal."""
    from edged import settings, tracing
    from edged.logs import configure_logging
    from edged.process import keep_frame_memory

    keep_frame_memory()
    configuration = settings.load(args.config)
    configure_logging(args.verbose)

    from edged.daemon import Daemon

    if args.trace:
        tracing.start(args.trace)
    try:
        return Daemon(configuration).run()
    finally:
        tracing.stop()
