"""A folder of photos as a source of frames."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edged.codec import READABLE, read_image
from edged.errors import CameraError, ImageError

if TYPE_CHECKING:
    from edged.types import Image

_log = logging.getLogger(__name__)


class FolderSource:
    """The photos of one folder, by name; subfolders, hidden files and other kinds of files are passed over.

    The folder is listed again for every round, so photos may come and go. One that cannot be read is skipped and
    logged once.

    Args:
        folder: The folder.
        loop: Start again after the last photo.

    Raises:
        CameraError: Missing, not a folder, or without a single photo.
    """

    live = False

    def __init__(self, folder: Path, loop: bool) -> None:
        self._folder = folder
        self._loop = loop
        self._complained: set[str] = set()
        self._delivered = 0
        self._photos = iter(self._list())

    def _list(self) -> list[Path]:
        try:
            entries = sorted(self._folder.iterdir(), key=lambda path: path.name)
        except FileNotFoundError as error:
            raise CameraError(f"the folder {self._folder} does not exist") from error
        except OSError as error:
            raise CameraError(f"the folder {self._folder} cannot be listed: {error.strerror}") from error
        photos = [
            path
            for path in entries
            if path.suffix.lower() in READABLE and not path.name.startswith(".") and path.is_file()
        ]
        if not photos:
            raise CameraError(f"the folder {self._folder} holds no photo ({', '.join(sorted(READABLE))})")
        return photos

    def read(self) -> Image | None:
        """Return the next photo that can be read; None after the last one where `loop` is off.

        Raises:
            CameraError: The folder has gone, or not one photo of a whole round could be read.
        """
        while True:
            for path in self._photos:
                try:
                    image = read_image(path)
                except ImageError as error:
                    self._complain(path.name, error)
                    continue
                self._delivered += 1
                return image
            if self._delivered == 0:
                raise CameraError(f"no photo in the folder {self._folder} can be read")
            if not self._loop:
                return None
            self._delivered = 0
            self._photos = iter(self._list())

    def _complain(self, name: str, error: ImageError) -> None:
        if name not in self._complained:
            self._complained.add(name)
            _log.warning("photo skipped: %s", error)

    def interrupt(self) -> None:
        """Reading a photo is short."""

    def close(self) -> None:
        """Nothing is held open."""
