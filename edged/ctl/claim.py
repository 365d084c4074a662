"""What this workstation keeps between two calls of edgectl is worked on by one of them at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from edged.errors import CommandError, ConfigError


@contextlib.contextmanager
def claim(lock: Path, what: str) -> Iterator[None]:
    """Keep other edgectls of this workstation away until the block ends, or the process.

    Args:
        lock: A file that says so; its folder is made.
        what: What is kept to oneself, for people.

    Raises:
        ConfigError: The folder cannot be written.
        CommandError: Another one is at it.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = lock.open("a")
    except OSError as error:
        raise ConfigError(f"{lock.parent}: {what}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(f"{what}: another edgectl is at it") from error
        yield
