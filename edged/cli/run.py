"""`edged run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from edged.cli.options import add_config
from edged.terminal.registry import Commands

log = logging.getLogger(__name__)


def register(commands: Commands) -> None:
    """Add `run`."""
    parser = commands.add("run", run)
    add_config(parser)
    parser.add_argument("--verbose", action="store_true", help="log per-frame detail")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace that opens in ui.perfetto.dev")


def run(args: argparse.Namespace) -> int:
    """Classify frames and publish results until stopped.

    This is the daemon, in the foreground. SIGHUP (`systemctl reload edged`) lets it read its configuration again.

    Examples:
      edged run --config /etc/edged/edged.toml
      edged run --trace trace.json
    """
    from edged import settings, tracing
    from edged.cli.state import service_beside
    from edged.logs import configure_logging
    from edged.process import keep_frame_memory, limit_threads

    keep_frame_memory()
    limit_threads()  # before numpy is imported: BLAS threads would wait for the next frame's familiarity by spinning
    configuration = settings.load(args.config)
    configure_logging(args.verbose, configuration.device.id)
    os.umask(0o077)  # what it and its children make, temporary files too, is for its user alone
    if service_beside(args.config) is not None:
        log.warning(
            "the service has this configuration too; while both run as device %r, they push each other off the broker: "
            "systemctl stop edged",
            configuration.device.id,
        )

    from edged.daemon import Daemon, leave_behind

    if args.trace:
        tracing.start(args.trace)
    try:
        code = Daemon(configuration, lambda: settings.load(args.config)).run()
    finally:
        tracing.stop()
    leave_behind(code)
    return code
