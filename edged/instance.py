"""One daemon per state folder: two would write each other's outbox, commands and images. And the name of this run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from edged.database import is_full
from edged.errors import ConfigError, EdgedError

BOOT = uuid.uuid4().hex[:8]
"""Names this start of the process: 8 hex digits. Results are numbered from 0 in each."""


class InUseError(EdgedError):
    """Another daemon has the state folder. `owner`: its process id as text, "?" where it is unknown."""

    def __init__(self, state_dir: Path, owner: str) -> None:
        super().__init__(f"another edged (process {owner}) uses {state_dir}; stop it, or set another storage.state_dir")
        self.owner = owner


def claim(state_dir: Path) -> Callable[[], None]:
    """Make the state folder this process's own.

    Returns:
        What gives the folder back; so does the end of the process in any way.

    Raises:
        InUseError: Another daemon has it.
        EdgedError: It is not there and the disk has no room for it.
        ConfigError: It cannot be written to.
    """
    try:
        descriptor = _open(state_dir)
    except OSError as error:
        if is_full(error, state_dir):
            raise EdgedError(f"storage.state_dir = {str(state_dir)!r}: {error.strerror}; make room") from error
        raise ConfigError(
            f"storage.state_dir = {str(state_dir)!r}: {error.strerror}; choose a folder that this user may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = "?"
        with contextlib.suppress(OSError):  # a folder tells no owner
            owner = os.pread(descriptor, 20, 0).decode("ascii", errors="replace").strip() or "?"
        os.close(descriptor)
        raise InUseError(state_dir, owner) from error
    with contextlib.suppress(OSError):  # a full disk: the number is only for the message above
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return lambda: os.close(descriptor)


def _open(state_dir: Path) -> int:
    """Open what is locked: a file in the folder, or the folder itself where a full disk has no room for a name."""
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        return os.open(state_dir / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if not is_full(error, state_dir):
            raise
        return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
