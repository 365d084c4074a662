"""Files that are being sent in parts: which bytes are here, on disk, so that a restart goes on where it was.

A file's room is reserved when its first part arrives, so that a full disk is told then and not in the middle, and what
was not sent is known and not guessed: a file with holes reads as zeros and looks whole.

No link is followed: what a stranger sends is written, and what is given up is deleted, nowhere but here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edged.errors import CommandError
from edged.memory import available_bytes
from edged.store.durable import delete

MEMORY_SHARE = 4
"""A file may take this part of the memory that is available: it is read, copied by the runtime, and packed anew."""
DISK_SHARE = 2
"""And this part of the free disk: it is installed from here, and stands in both places for a while."""
FILES = 2
"""So many are kept, a model's and its familiarity.npz or weights; the older ones were given up and must not fill the
disk."""
MOST_GAPS = 1000
"""Parts may come in any order, but what is told of them must stay small."""
_BLOCK_BYTES = 1 << 20

Interval = tuple[int, int]
"""Begin and end of bytes that are here."""


@dataclass(frozen=True)
class _Received:
    size: int
    intervals: tuple[Interval, ...]

    def encode(self) -> bytes:
        return json.dumps({"size": self.size, "received": self.intervals}).encode()

    @classmethod
    def read(cls, path: Path) -> _Received | None:
        """Read what is told of a file; None where nothing is, or nothing that makes sense."""
        try:
            with _open(path, os.O_RDONLY) as file:
                told = json.load(file)
            intervals = tuple((int(begin), int(end)) for begin, end in told["received"])
            return cls(int(told["size"]), intervals)
        except (OSError, ValueError, TypeError, KeyError):
            return None


class Uploads:
    """The folder of files that are being sent. Any thread may call it.

    Args:
        folder: Where; made with the first part. A link is refused.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def receive(self, sha256: str, size: int, offset: int, data: bytes) -> None:
        """Write a part of a file.

        Args:
            sha256: Of the whole file, which it is called by.
            size: Of the whole file, bytes.
            offset: Of the part.
            data: The part.

        Raises:
            CommandError: It lies outside of the file, the file is larger than fits this device, the folder is a link,
                or the disk fails.
        """
        if offset + len(data) > size:
            raise CommandError(f"{len(data)} bytes at {offset} do not fit into {size} bytes")
        path, told = self._file(sha256), self._told(sha256)
        with self._lock:
            self._check_folder()
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                received = _Received.read(told)
                if received is None or received.size != size or not _is_file(path):
                    received = self._begin(sha256, size)
                with _open(path, os.O_RDWR) as file:
                    file.seek(offset)
                    file.write(data)
                merged = merge([*received.intervals, (offset, offset + len(data))])
                if len(merged) > MOST_GAPS:
                    raise CommandError(f"file {sha256[:12]}: {len(merged)} pieces; send the parts in their order")
                if merged != received.intervals:
                    _write(told, _Received(size, merged).encode())
            except OSError as error:
                raise CommandError(f"{path}: cannot be written: {error.strerror}") from error

    def take(self, sha256: str, what: str) -> bytes:
        """Read a file that is here as a whole.

        Args:
            sha256: Of the file.
            what: What errors call it.

        Raises:
            CommandError: Nothing of it was sent; or the folder is a link; or parts are missing, and which; or it is
                larger than fits now; or it is not what its sha256 says, and then it is deleted; or it cannot be read.
        """
        path = self._file(sha256)
        with self._lock:
            self._check_folder()
            received = _Received.read(self._told(sha256))
            if received is None or not _is_file(path):
                raise CommandError(f"nothing of {what} {sha256[:12]} was sent (models_chunk)")
            if missing := gaps(received.intervals, received.size):
                (begin, end), more = missing[0], len(missing) - 1
                total = sum(end - begin for begin, end in missing)
                raise CommandError(
                    f"{what} {sha256[:12]}: parts are missing: {total} of {received.size} bytes, "
                    f"{begin} to {end - 1}{f' and {more} more gaps' if more else ''}; send them (models_chunk)"
                )
            check_memory(received.size)
            try:
                if (actual := _hash(path)) != sha256:
                    self._forget(sha256)
                    raise CommandError(
                        f"{what} {sha256[:12]}: what was sent has sha256 {actual[:12]}; it is deleted, send it again"
                    )
                with _open(path, os.O_RDONLY) as file:
                    return file.read()
            except OSError as error:
                raise CommandError(f"{path}: cannot be read: {error.strerror}") from error

    def forget(self, sha256: str) -> None:
        """Delete a file that is not needed any more."""
        with self._lock:
            if not self._folder.is_symlink():
                self._forget(sha256)

    def _check_folder(self) -> None:
        if self._folder.is_symlink():
            raise CommandError(f"{self._folder}: is a link, which is not followed; a real folder is needed")

    def _begin(self, sha256: str, size: int) -> _Received:
        """Reserve the room of a new file; what was given up goes first."""
        self._forget(sha256)
        self._clear(FILES - 1)
        check_memory(size)
        check_disk(size, self._folder)
        path = self._file(sha256)
        try:
            with path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        received = _Received(size, ())
        _write(self._told(sha256), received.encode())
        return received

    def _clear(self, kept: int) -> None:
        """Delete all but the newest files, and whatever belongs to none of them."""
        found = [(path.stat(follow_symlinks=False).st_mtime_ns, path) for path in self._folder.glob("*.part")]
        stay = {path.stem for _, path in sorted(found, reverse=True)[:kept]}
        for path in self._folder.iterdir():
            if path.stem not in stay:
                delete(path)

    def _forget(self, sha256: str) -> None:
        delete(self._told(sha256))
        delete(self._file(sha256))

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.part"

    def _told(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.json"


def merge(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Return the same bytes as intervals that do not touch, ascending."""
    merged: list[Interval] = []
    for begin, end in sorted(one for one in intervals if one[0] < one[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def gaps(intervals: tuple[Interval, ...], size: int) -> list[Interval]:
    """Return which bytes of a file of this size lie in none of the intervals, which `merge` has made."""
    edges = [0, *(edge for interval in intervals for edge in interval), size]
    return [(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if begin < end]


def check_memory(size: int) -> None:
    """Raise CommandError where a model of this size does not fit into the memory that is available now."""
    _check(size, available_bytes() // MEMORY_SHARE, "a quarter of the memory that is available")


def check_disk(size: int, folder: Path) -> None:
    """Raise CommandError where a file of this size would leave too little of the disk."""
    _check(size, shutil.disk_usage(folder).free // DISK_SHARE, "half of the free disk")


def _check(size: int, limit: int, why: str) -> None:
    if size > limit:
        raise CommandError(
            f"{size / 1e6:.1f} MB are too large for this device now: at most {limit / 1e6:.1f} MB, {why}"
        )


def _open(path: Path, flags: int) -> BinaryIO:
    """Open a file, and nothing behind a link. Raises OSError."""
    return os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC), "rb" if flags == os.O_RDONLY else "r+b")


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with _open(path, os.O_RDONLY) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Replace a small file as a whole. It is not flushed: after a power cut the file's own sha256 judges it."""
    draft = path.with_suffix(".new")
    try:
        delete(draft)
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
