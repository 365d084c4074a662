"""Photos that the lab measures on: found in folders, labeled by their folder or by a table, read as network inputs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import READABLE, read_image
from edged.errors import ConfigError, ImageError
from edged.resources import shipped_photos
from edged.vision.preprocess import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE = "labels.csv"
_COLUMNS = ("file", "class_index", "label")
_MOST = 64
"""Photos kept in memory; longer runs go through them again."""


@dataclass(frozen=True, slots=True)
class LabeledPhoto:
    """A photo and what it shows; label and class index are None where they are not known.

    Attributes:
        path: The file.
        label: In words.
        class_index: Which output of a network is right.
        source: Where the photo comes from; "" where that is not known.
    """

    path: Path
    label: str | None = None
    class_index: int | None = None
    source: str = ""


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

    Args:
        folder: None: the photos that come with edged.
        width, height: Of the network's input, pixels.
        crop: See `vision.preprocess.fit`.

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


def labeled_photos(folder: Path, table: Path | None) -> list[LabeledPhoto]:
    """Find photos and what they show, for any networks.

    Args:
        folder: Photos in one folder per label; with a table, in any order.
        table: CSV with a column `file` (relative to the folder) and `class_index` or `label`.

    Raises:
        ConfigError: One line that names the file: missing, no such column, a row without a photo.
    """
    if table is None:
        folders = {file: file.parent.relative_to(folder).parts for file in photo_files(folder)}
        return [LabeledPhoto(file, label=parts[0] if parts else None) for file, parts in folders.items()]
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of images")
    columns, rows = _read_table(table)
    if "file" not in columns or not {"class_index", "label"} & set(columns):
        raise ConfigError(
            f"{table}: needs the columns file, and class_index or label; has {', '.join(columns) or 'none'}"
        )
    photos = []
    for line, row in rows:
        index = row.get("class_index", "")
        if index and not index.isdecimal():
            raise ConfigError(f"{table}: line {line}: class_index {index!r} is not a number from 0")
        photos.append(LabeledPhoto(folder / row["file"], row.get("label") or None, int(index) if index else None))
    return photos


def labeled_photos_of_pool(folder: Path, table: Path | None, classes: Sequence[str]) -> list[LabeledPhoto]:
    """Read which photos there are and what they show, for networks that name the same classes.

    Args:
        folder: The photos.
        table: CSV with the columns `file` (relative to the folder), `class_index`, `label` and, where known, `source`;
            None: `labels.csv` in the folder.
        classes: The networks' common labels.

    Returns:
        Photos with a class index.

    Raises:
        ConfigError: One line that names file and line: no such folder or file, a missing column, a class that the
            networks do not have, a photo that is not there.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of photos")
    path = folder / TABLE if table is None else table
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; labels are a CSV file with the columns {', '.join(_COLUMNS)}")
    columns, rows = _read_table(path)
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ConfigError(f"{path}: no column {missing[0]!r}; needed: {', '.join(_COLUMNS)}")
    if not rows:
        raise ConfigError(f"{path}: names no photo")
    return [_photo_of_pool(row, f"{path}: line {line}", folder, classes) for line, row in rows]


def spread(photos: Sequence[LabeledPhoto], limit: int) -> list[LabeledPhoto]:
    """Return at most `limit` photos (0: all), evenly over the whole."""
    if not limit or len(photos) <= limit:
        return list(photos)
    return [photos[place] for place in np.linspace(0, len(photos) - 1, limit).round().astype(int)]


def _photo_of_pool(row: dict[str, str], where: str, folder: Path, classes: Sequence[str]) -> LabeledPhoto:
    name, index, label = (row[column] for column in _COLUMNS)
    if not index.isdecimal() or int(index) >= len(classes):
        raise ConfigError(f"{where}: class_index = {index!r}: this pool has classes 0 to {len(classes) - 1}")
    known = classes[int(index)]
    if label != known and label in classes:
        raise ConfigError(f"{where}: class {index} is {known!r} for this pool, not {label!r}")
    if not name or not (folder / name).is_file():
        raise ConfigError(f"{where}: file = {name!r}: no such file in {folder}")
    return LabeledPhoto(folder / name, label, int(index), row.get("source", ""))


def _read_table(path: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a CSV file, and its rows with their line numbers; spaces around values are removed.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, {name: (row[name] or "").strip() for name in columns}) for row in reader]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: is not a readable CSV file in UTF-8: {error}") from error
    return columns, rows
