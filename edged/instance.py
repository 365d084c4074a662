"""One daemon per state folder: two would write each other's outbox, commands and images. And nobody else may read it.

What a camera has seen, and the commands that a device was given, are for the user alone who runs it. `BOOT` names
this start.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from edged.database import is_full
from edged.errors import ConfigError, EdgedError

BOOT = uuid.uuid4().hex[:8]
"""Names this start of the process: 8 hex digits. Results are numbered from 0 in each."""

log = logging.getLogger(__name__)

_LOCK = "daemon.lock"
_OTHERS = 0o077
_SHARED = frozenset(
    Path("/") / name
    for name in ("", "etc", "home", "media", "mnt", "opt", "root", "srv", "tmp", "usr", "var", "var/lib", "var/tmp")
)
"""Folders that are not edged's alone even where somebody has made one of them its state folder."""


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
        ConfigError: It cannot be written to, or a folder lies where the lock belongs.
    """
    try:
        descriptor = _open(state_dir)
    except OSError as error:
        if is_full(error, state_dir):
            raise EdgedError(f"storage.state_dir = {str(state_dir)!r}: {error.strerror}; make room") from error
        if isinstance(error, IsADirectoryError):
            raise ConfigError(f"{state_dir / _LOCK}: is a folder, where edged keeps a file; remove it") from error
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
    _tighten(state_dir)
    return lambda: os.close(descriptor)


def make_private(state_dir: Path) -> None:
    """Make the state folder where there is none; others may not look into it. Raises OSError."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def _open(state_dir: Path) -> int:
    """Open what is locked: a file in the folder, or the folder itself where a full disk has no room for a name."""
    make_private(state_dir)
    try:
        return os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if not is_full(error, state_dir):
            raise
        return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _tighten(state_dir: Path) -> None:
    """Close a folder that an older edged, or its user, has left open to others, with all that is this user's in it.

    Only once: in a closed folder nobody else can reach anything.
    """
    try:
        status = state_dir.stat()
        if status.st_uid != os.geteuid() or not status.st_mode & _OTHERS:
            return
        home = Path.home().resolve()
        real = state_dir.resolve()
        if status.st_mode & stat.S_ISVTX or real in _SHARED or real == home or real in home.parents:
            log.warning("%s: other users may look into it; choose a folder of its own as storage.state_dir", state_dir)
            return
        state_dir.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
        changed = 1
        for at, folders, files in os.walk(state_dir):
            changed += sum(_close(Path(at) / name) for name in (*folders, *files))
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows this user's home
        log.warning("%s: other users may look into it, and that cannot be changed: %s", state_dir, error)
        return
    log.info("%s: other users may no longer look into it (%d files and folders)", state_dir, changed)


def _close(path: Path) -> bool:
    """Take others' rights to a file or folder away, if it is this user's; never those to what a link leads to."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode) and status.st_mode & _OTHERS:
            path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
            return True
    return False
