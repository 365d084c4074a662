"""Files that this user cannot delete, as another user's files would be, for root and for everybody else."""

from __future__ import annotations

import array
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
"""FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h, where a long has 8 bytes."""
_IMMUTABLE = 0x10


class Pins:
    """Pins files for the time of a test; the folder that a file lies in may still be renamed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def pin(self, file: Path) -> None:
        """Keep a file from being deleted: by the immutable flag for root, else by closing its folder."""
        self._stack.enter_context(_immutable(file) if os.geteuid() == 0 else _closed(file.parent))

    def let_go(self) -> None:
        """Let everything that is pinned be deleted again, before the test ends."""
        self._stack.pop_all().close()


@contextmanager
def _closed(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)  # it may have another name when it is opened again
    os.fchmod(descriptor, 0o555)
    try:
        yield
    finally:
        os.fchmod(descriptor, 0o755)
        os.close(descriptor)


@contextmanager
def _immutable(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDONLY)
    flags = array.array("l", [0])
    try:
        try:
            fcntl.ioctl(descriptor, _GET_FLAGS, flags, True)
            before = flags[0]
            fcntl.ioctl(descriptor, _SET_FLAGS, array.array("l", [before | _IMMUTABLE]))
        except OSError as error:
            pytest.skip(f"root can delete everything here: no immutable flag on this file system ({error.strerror})")
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, _SET_FLAGS, array.array("l", [before]))
    finally:
        os.close(descriptor)
