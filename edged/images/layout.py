"""Where image files lie: a folder per label, and one for kept frames that nobody has labeled. Knows no index.

A label's folder that is a link is refused, for it would lead every write and every deletion out of the state folder. An
image that is a link to a file is one like any other, because people put photos that lie elsewhere into a label's folder
so: it is read; removing deletes the link, relabeling moves it, and nothing is ever written through it. `images` and
`frames` themselves may be links, to a larger disk.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edged.codec import READABLE
from edged.contract.labels import check_label, kept_form
from edged.errors import CommandError, StorageError
from edged.store import durable
from edged.store.durable import TEMPORARY, delete

IMAGES, FRAMES = "images", "frames"
Stamp = tuple[int, int]
"""When a file changed last, nanoseconds since the epoch, and its size, bytes: a new stamp means new content."""
_ENDINGS = tuple(READABLE)
_A_LINK = "is a link; a label's folder must be a real one (its files may be links)"
_STALE_S = 3600.0
"""Age of a temporary file, seconds, from which on nobody is writing it any more."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that cannot be trained on. `file`: its path below the state folder."""

    file: str
    reason: str


@dataclass(slots=True)
class Found:
    """What lies in the folders: path below the state folder → its status; and what is there by mistake."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """The two folders. Files are named by their stored path: `images/<label>/<file>` or `frames/<file>`.

    Attributes:
        images: A folder per label.
        frames: Unlabeled frames.
        foreign: Whether the images are somebody's own, which are only read; then their folders may be links.
    """

    images: Path
    frames: Path
    foreign: bool = False

    def path(self, stored: str) -> Path:
        """Return the absolute path of a stored one."""
        return Path(self.file(stored))

    def file(self, stored: str) -> str:
        """Return the absolute path of a stored one as text."""
        area, _, rest = stored.partition("/")
        return f"{self.images if area == IMAGES else self.frames}/{rest}"

    def check_folder(self, path: Path) -> None:
        """Make sure that an image's file, by its absolute path, lies in a real folder: before it is read or changed.

        Raises:
            StorageError: The label's folder is a link.
        """
        if path.parent != self.frames and path.parent.is_symlink() and not self.foreign:
            raise StorageError(f"{path.parent}: {_A_LINK}")

    def make_folder(self, path: Path) -> None:
        """Make the folder that an image's file shall lie in. Raises as `check_folder`, and OSError."""
        with suppress(FileExistsError):  # a link to a folder is told next, and anything else when it is used
            path.parent.mkdir()
        self.check_folder(path)

    def walk(self) -> Found:
        """Look at every file: one level below the label's folder. Hidden ones are other programs' temporary files.

        Raises:
            StorageError: The folder of all labels cannot be read.
        """
        found = Found()
        for folder in _entries(self.images):
            if folder.name.startswith("."):
                _clear_stale(folder)
            elif folder.is_symlink() and not self.foreign:
                found.skipped.append(_skipped(f"{IMAGES}/{folder.name}", _A_LINK))
            elif not folder.is_dir():
                found.skipped.append(_skipped(f"{IMAGES}/{folder.name}", "lies in no label's folder"))
            else:
                try:
                    check_label(folder.name)
                except CommandError as error:
                    found.skipped.append(_skipped(f"{IMAGES}/{folder.name}", str(error)))
                    continue
                self._walk_files(Path(folder.path), f"{IMAGES}/{folder.name}", found)
        self._walk_files(self.frames, FRAMES, found)
        return found

    def _walk_files(self, folder: Path, stored: str, found: Found) -> None:
        try:
            entries = _entries(folder)
        except StorageError as error:  # another user's folder: the other labels are still good
            found.skipped.append(_skipped(stored, str(error)))
            return
        for entry in entries:
            if entry.name.startswith("."):
                _clear_stale(entry)
                continue
            name = f"{stored}/{entry.name}"
            try:
                status = entry.stat()
            except OSError:  # gone meanwhile, or a link to nothing
                continue
            if stat.S_ISDIR(status.st_mode):
                found.skipped.append(_skipped(name, "is a folder; images lie directly in their label's folder"))
            elif not stat.S_ISREG(status.st_mode):
                found.skipped.append(_skipped(name, "is not a file"))
            elif not entry.name.lower().endswith(_ENDINGS):
                found.skipped.append(_skipped(name, f"not an image by its name; {', '.join(sorted(READABLE))} are"))
            elif not _is_text(entry.name):
                found.skipped.append(_skipped(name, "its name is not UTF-8"))
            else:
                found.files[name] = status


def move(source: Path, target: Path) -> None:
    """Move an image's file; a link moves and still leads to the same file. Raises OSError."""
    if source.is_symlink() and not (leads_to := source.readlink()).is_absolute():
        durable.link(target, os.path.normpath(source.parent.resolve() / leads_to))
        source.unlink()
    else:
        source.rename(target)


def stored_path(name: str, label: str | None) -> str:
    """Return the stored path of a file of this name with this label; None: a frame without one."""
    return f"{FRAMES}/{name}" if label is None else f"{IMAGES}/{label}/{name}"


def stamp_of(status: os.stat_result) -> Stamp:
    """Return a file's stamp."""
    return status.st_mtime_ns, status.st_size


def label_of(stored: str) -> str | None:
    """Return the label that a stored path stands for; None: a frame without one."""
    area, _, rest = stored.partition("/")
    return kept_form(rest.partition("/")[0]) if area == IMAGES else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror}") from error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _skipped(stored: str, reason: str) -> Skipped:
    return Skipped(stored.encode(errors="replace").decode(), reason)


def _clear_stale(entry: os.DirEntry[str]) -> None:
    """Remove what an interrupted write of ours has left."""
    with suppress(FileNotFoundError):
        if entry.name.startswith(TEMPORARY) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_S:
            delete(Path(entry.path))
