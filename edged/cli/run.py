"""`edged run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "run", help="classify frames and publish results until stopped", description="Run the daemon in the foreground."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: /etc/edged/edged.toml)")
    parser.add_argument("--verbose", action="store_true", help="log per-frame detail")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace that opens in ui.perfetto.dev")
    parser.set_defaults(run=run)


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
