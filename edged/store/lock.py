"""One writer at a time: a lock on a file, and clearing up after a writer that was killed."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edged.errors import ModelError
from edged.store import durable

log = logging.getLogger(__name__)

_ASIDE = ".old."


def aside(path: Path) -> Path:
    """Return where `path` goes while another takes its place."""
    return path.with_name(f"{_ASIDE}{path.name}")


class Lock:
    """Readers together, a writer alone; between processes and between threads.

    Args:
        state_dir: Where `store.lock` lies.
        folders: What a writer changes beside `state_dir` itself; made when the first one comes.
    """

    def __init__(self, state_dir: Path, folders: Sequence[Path]) -> None:
        self._path = state_dir / "store.lock"
        self._folders = folders
        self._changed = (state_dir, *folders)

    def interrupted(self) -> bool:
        """Whether a writer is at work or was killed."""
        return any(durable.leftovers(folder) or list(folder.glob(f"{_ASIDE}*")) for folder in self._places())

    def is_ours(self) -> bool:
        """Whether the state folder belongs to this user: what root makes there, its owner could not write."""
        try:
            return self._path.parent.stat().st_uid == os.geteuid()
        except OSError:
            return False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Wait for a writer to end, and keep others out."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for everyone, and end what a killed writer has begun.

        Raises:
            ModelError: In place of any OSError, also of the block's.
        """
        try:
            for folder in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():  # one of another user will do: it is only locked, never written
                self._path.touch()
            with self._held(fcntl.LOCK_EX):
                self._clear()
                yield
        except OSError as error:
            where = error.filename or self._path.parent
            raise ModelError(f"{where}: the model store cannot be changed: {error.strerror}") from error

    @contextmanager
    def _held(self, kind: int) -> Iterator[None]:
        try:
            file = self._path.open("rb")
        except OSError:  # nothing was ever changed here, or it is not ours to wait for
            yield
            return
        with file:
            fcntl.flock(file, kind)  # closing the file releases it
            yield

    def _places(self) -> list[Path]:
        """Return the folders in which a writer may leave something: bundles too, for their files may be replaced."""
        bundles = [path for folder in self._folders for path in folder.glob("[!.]*") if path.is_dir()]
        return [*self._changed, *bundles]

    def _clear(self) -> None:
        if not self.interrupted():
            return
        log.info("%s: clearing what an interrupted change has left", self._path.parent)
        for folder in self._places():
            durable.clear(folder)
            for put_aside in folder.glob(f"{_ASIDE}*"):
                try:
                    durable.restore(folder / put_aside.name.removeprefix(_ASIDE), put_aside)
                except OSError as error:  # the change at hand is another one's business
                    log.warning("%s stays: it cannot be moved: %s", put_aside, error.strerror)
