"""Whether the disk below a folder has room: what is told apart from every other reason why a write fails."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

ENOUGH_BYTES = 2**20
"""With less than this a disk counts as full: a database, its journal and its index want some pages each."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 64 * 1024


def is_full(error: OSError | sqlite3.Error, folder: Path) -> bool:
    """Whether a write into `folder` has failed because there is no room.

    SQLite says so only where it writes pages. A journal's index that cannot grow is "disk I/O error", which has many
    causes: then a file is written, and removed, to find out.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL
    if "full" in str(error):
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as failure:
        return failure.errno in _FULL
    return False


def has_room(folder: Path) -> bool:
    """Whether a full disk has so much room again that it is worth another try. Writes nothing."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize >= ENOUGH_BYTES
