"""The photos that a profile runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import edged
from edged.codec import READABLE, read_image
from edged.errors import ConfigError, ImageError
from edged.vision.preprocess import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 64
"""Photos kept in memory; longer runs go through them again."""


def shipped_photos() -> Path:
    """Return the folder of the photos that come with edged."""
    return Path(edged.__file__).parent / "demo" / "photos"


def photo_files(folder: Path) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted.

    Raises:
        ConfigError: It is no folder, or has no photo.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of images")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READABLE and path.is_file())
    if not files:
        raise ConfigError(f"{folder}: contains no image ({', '.join(sorted(READABLE))})")
    return files


def read_prepared(folder: Path | None, *, width: int, height: int, crop: float) -> NDArray[np.uint8]:
    """Read photos, evenly spread over the folder, as network inputs; those that cannot be read are left out.

    Returns:
        RGB, (at most 64, height, width, 3) uint8.

    Raises:
        ConfigError: No photo can be read.
    """
    folder = folder or shipped_photos()
    files = photo_files(folder)
    prepared = []
    for file in files[:: max(1, len(files) // _MOST)][:_MOST]:
        try:
            prepared.append(fit(read_image(file), width, height, crop))
        except ImageError:
            continue
    if not prepared:
        raise ConfigError(f"{folder}: none of its {len(files)} images can be read")
    return np.stack(prepared)
