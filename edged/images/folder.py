"""Somebody's folder of labeled images, with an index of its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edged.errors import RefusedError
from edged.images.store import ImageStore


def open_images(state_dir: Path, folder: Path | None, images_max_mb: float) -> ImageStore:
    """Open the device's labeled images, or those of a folder with one folder per label, which is only read.

    A folder's index lies at `<state_dir>/datasets/<hash of its path>`: the device's images and somebody's folder must
    not be taken for one another.

    Raises:
        RefusedError: There is no such folder.
        StorageError: The index cannot be used.
    """
    if folder is None:
        return ImageStore(state_dir, images_max_mb=images_max_mb)
    if not folder.is_dir():
        raise RefusedError(f"{folder}: no such folder; one with a folder per label is needed")
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return ImageStore(state_dir / "datasets" / name, images_max_mb=images_max_mb, folder=folder)
