"""`edged rollback`, and what else changes which model answers without a daemon: `edged models use`, `edged retrain`.

A daemon that runs decides that itself and must not be contradicted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edged.cli.options import add_config
from edged.errors import EdgedError, ModelError
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Bundle, Store


def register(commands: Commands) -> None:
    """Add `rollback`."""
    parser = commands.add("rollback", run)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Let the model before the current one answer again.

    While no daemon runs; through a daemon: edgectl rollback.

    Examples:
      edged rollback
    """
    from edged.cli.state import open_device
    from edged.store import Store

    device = open_device(args.config, changes=True)
    store = Store(device.state_dir)
    with without_daemon(device.settings, "edgectl rollback"):
        bundle = store.rollback(device.settings.model.name)
    print(f"{bundle.name} ({bundle.id}) is current: it answers when the daemon starts")
    return 0


@contextmanager
def without_daemon(settings: Settings, command: str) -> Iterator[None]:
    """Hold the state folder, so that no daemon starts on it meanwhile.

    Args:
        settings: The configuration.
        command: What does the same through a daemon.

    Raises:
        EdgedError: A daemon holds it; the text tells `command`.
        ConfigError: The folder cannot be written to.
    """
    from edged.instance import InUseError, claim

    try:
        give_back = claim(settings.storage.state_dir)
    except InUseError as error:
        folder = settings.storage.state_dir
        raise EdgedError(f"a daemon (process {error.owner}) uses {folder}; ask it: `{command}`") from error
    try:
        yield
    finally:
        give_back()


def make_current(settings: Settings, store: Store, bundle: Bundle) -> Bundle:
    """Let a bundle answer from the daemon's next start on, as `edgectl models use` would; older versions make room.

    The caller holds the state folder, see `without_daemon`.

    Returns:
        The version that is current.

    Raises:
        ModelError: It is damaged, or cannot be written.
    """
    from edged.terminal.text import note

    version = store.promote(bundle, settings.model.name)
    try:
        store.prune(settings.retrain.keep_versions)
    except ModelError as error:
        note("edged", f"old versions stay: {error}")
    return version


def describe_current(bundle: Bundle) -> str:
    """Say that a bundle is current."""
    return f"{bundle.name} ({bundle.id}) is current: it answers when the daemon starts; `edged rollback` goes back"
