"""What is damaged in the state folder, or of another kind than belongs there: set aside, and told.

Whoever owns it makes it anew, so that a device runs on; what was there stays beside it for a person to look at.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

_lines: list[str] = []


def set_aside(path: Path, why: str, renewed: str) -> None:
    """Rename a file or folder to *.corrupt, over an older file of that name, and tell that in the log, as an error.

    Args:
        path: Which.
        why: What is wrong with it.
        renewed: What becomes of its content, after "set aside as … and".

    Raises:
        OSError: It cannot be renamed.
    """
    aside, number = path.with_name(f"{path.name}.corrupt"), 1
    while _is_folder(aside) or (_is_folder(path) and os.path.lexists(aside)):  # neither is renamed over the other
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{number}")
    path.replace(aside)
    line = f"{path}: unusable ({why}); set aside as {aside.name} and {renewed}"
    _lines.append(line)
    log.error("%s", line)


def told() -> tuple[str, ...]:
    """Return a line for each thing that this process has set aside, oldest first: for `info`."""
    return tuple(_lines)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
