"""`edged rollback`: the model before the current one answers again, without a daemon."""

from __future__ import annotations

import argparse

from edged.cli.options import add_config
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `rollback`."""
    parser = commands.add(
        "rollback",
        run,
        summary="let the model before the current one answer again",
        details="While no daemon runs; through a daemon: edgectl rollback.",
        examples="  edged rollback",
    )
    add_config(parser)


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
