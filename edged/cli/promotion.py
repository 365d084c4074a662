"""Changing which model answers without a daemon; one that runs decides that itself and must not be contradicted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edged.errors import EdgedError, ModelError

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Bundle, Store


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
    from edged.daemon.instance import InUseError, claim

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
    version = store.promote(bundle, settings.model.name)
    try:
        store.prune(settings.retrain.keep_versions)
    except ModelError as error:
        print(f"edged: old versions stay: {error}", file=sys.stderr)
    return version


def describe_current(bundle: Bundle) -> str:
    """Say that a bundle is current."""
    return f"{bundle.name} ({bundle.id}) is current: it answers when the daemon starts; `edged rollback` goes back"
