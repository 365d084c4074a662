"""Changes to files that a power cut leaves done or not done, never half done.

Everything is written under a temporary name beside its place, flushed to the disk, and renamed; the folder that holds
the name is flushed too. Temporary names start with `.tmp.`, so that the next one to open the folder can clear them.

What cannot be deleted, because it belongs to another user or the folder is closed, stays: a warning, never an error.
A folder that stands where a file or a link belongs is set aside: nothing could be renamed over it.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from edged.damage import set_aside

log = logging.getLogger(__name__)

TEMPORARY = ".tmp."
_told: set[Path] = set()
"""What stays although it is not needed any more, and was told; each look at the folder would tell it again."""


def temporary(folder: Path, suffix: str = "") -> Path:
    """Return a fresh temporary path in `folder`."""
    return folder / f"{TEMPORARY}{secrets.token_hex(6)}{suffix}"


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Put a file in place, over an older one if there is any. Raises OSError; then the older one still stands."""
    draft = temporary(path.parent)
    try:
        _write_synced(draft, data)
        _make_way(path)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file or a link, if it is there. Raises OSError; then it stands as before."""
    _make_way(path)
    path.unlink(missing_ok=True)


def overwrite(path: Path, data: bytes) -> None:
    """Change a small file where it lies, which needs no room: for a full disk, which has none for a new one.

    Args:
        path: The file; it lies on the disk already.
        data: Its new content, of less than a sector: a power cut leaves the old or the new one. The older content
            should be as long, for a longer one may want room after all.

    Raises:
        OSError: It is not there, or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_folder(path: Path, files: Mapping[str, bytes], aside: Path | None = None) -> None:
    """Put a folder with these files in place.

    Args:
        path: Where it shall stand.
        files: File name → content.
        aside: Where a folder that stands at `path` goes meanwhile; whoever finds one there and nothing at `path` after
            a crash moves it back. None: nothing stands at `path`.

    Raises:
        OSError: Then `path` is as it was.
    """
    draft = temporary(path.parent)
    try:
        draft.mkdir()
        for name, data in files.items():
            _write_synced(draft / name, data)
        sync_folder(draft)
        if aside is not None and path.exists():
            path.rename(aside)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if aside is not None:
            restore(path, aside)
    sync_folder(path.parent)


def restore(path: Path, aside: Path) -> None:
    """End an interrupted replacement: what was put `aside` goes back where nothing took its place, else away."""
    if not aside.exists():
        return
    if path.exists():
        remove_folder(aside)
    else:
        aside.rename(path)


def remove_folder(path: Path) -> None:
    """Remove a folder; a crash leaves it whole under its name, or without a name that counts.

    Raises:
        OSError: It stands there as before. What of it cannot be deleted afterwards no longer bears its name.
    """
    doomed = temporary(path.parent)
    path.rename(doomed)
    delete(doomed)
    sync_folder(path.parent)


def delete(path: Path) -> bool:
    """Delete a file, or a folder with everything in it, that nobody needs.

    Returns:
        Whether it is gone. What cannot be deleted stays and is told once, as a warning.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        if path not in _told:
            _told.add(path)
            log.warning("%s stays: it cannot be deleted: %s", path, error.strerror)
        return False
    _told.discard(path)
    return True


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target` by one rename, over an older one if there is any."""
    draft = temporary(path.parent)
    try:
        draft.symlink_to(target)
        _make_way(path)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def leftovers(folder: Path) -> list[Path]:
    """Return what interrupted changes have left in `folder`; empty where there is no such folder."""
    return sorted(folder.glob(f"{TEMPORARY}*"))


def clear(folder: Path) -> None:
    """Delete `leftovers`, as far as they can be."""
    for path in leftovers(folder):
        delete(path)


def _make_way(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        set_aside(path, "a folder, where a file belongs", "begun anew")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
