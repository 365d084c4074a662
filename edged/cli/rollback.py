"""`edged rollback`: the model before the current one answers again, without a daemon."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add `rollback`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "rollback",
        help="let the model before the current one answer again",
        description="Let the model before the current one answer again, while no daemon runs; through a daemon: "
        "edgectl rollback.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: /etc/edged/edged.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Roll back."""
    from edged.cli.promotion import without_daemon
    from edged.cli.state import open_device
    from edged.store import Store

    device = open_device(args.config, changes=True)
    store = Store(device.state_dir)
    with without_daemon(device.settings, "edgectl rollback"):
        bundle = store.rollback(device.settings.model.name)
    print(f"{bundle.name} ({bundle.id}) is current: it answers when the daemon starts")
    return 0
