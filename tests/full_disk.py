"""Filling a disk up; see the fixture `small_disk`."""

from __future__ import annotations

import contextlib
from pathlib import Path


def fill_up(file: Path) -> None:
    """Write to a file until there is no room left."""
    with file.open("wb", buffering=0) as fill, contextlib.suppress(OSError):
        while True:
            fill.write(bytes(4096))
