"""One daemon per state folder: two would write each other's outbox, commands and images."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from edged.errors import ConfigError, EdgedError


class InUseError(EdgedError):
    """Another daemon has the state folder. `owner`: its process id as text, "?" where it is unknown."""

    def __init__(self, state_dir: Path, owner: str) -> None:
        super().__init__(f"another edged (process {owner}) uses {state_dir}; stop it, or set another storage.state_dir")
        self.owner = owner


def claim(state_dir: Path) -> BinaryIO:
    """Make the state folder this process's own.

    Returns:
        An open file; closing it, or the end of the process in any way, gives the folder back.

    Raises:
        InUseError: Another daemon has it.
        ConfigError: It cannot be written to.
    """
    path = state_dir / "daemon.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise ConfigError(
            f"storage.state_dir = {str(state_dir)!r}: {error.strerror}; choose a folder that this user may write to"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", errors="replace").strip() or "?"
        file.close()
        raise InUseError(state_dir, owner) from error
    with contextlib.suppress(OSError):  # a full disk: the number is only for the message above
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
    return file
