"""Labeled photos from a folder and a CSV file of `file`, `class_index`, `label` and, where known, `source`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ConfigError

LABELS_FILE = "labels.csv"
_COLUMNS = ("file", "class_index", "label")


@dataclass(frozen=True, slots=True)
class LabeledPhoto:
    """A photo and what it shows.

    Attributes:
        path: The file.
        class_index: Into the pool's common classes.
        source: Where it comes from; "" where that is not known.
    """

    path: Path
    class_index: int
    source: str


def read_labels(folder: Path, labels_file: Path | None, classes: Sequence[str]) -> list[LabeledPhoto]:
    """Read which photos there are and what they show.

    Args:
        folder: The photos; files in the CSV are relative to it.
        labels_file: The CSV; None: `labels.csv` in the folder.
        classes: The pool's common labels.

    Raises:
        ConfigError: One line that names file and line: no such folder or file, a missing column, a class that the pool
            does not have, a photo that is not there.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of photos")
    path = folder / LABELS_FILE if labels_file is None else labels_file
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; labels are a CSV file with the columns {', '.join(_COLUMNS)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise ConfigError(f"{path}: no column {missing[0]!r}; needed: {', '.join(_COLUMNS)}")
            photos = [_photo(row, f"{path}: line {reader.line_num}", folder, classes) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: is not a readable CSV file in UTF-8: {error}") from error
    if not photos:
        raise ConfigError(f"{path}: names no photo")
    return photos


def _photo(row: dict[str, str | None], where: str, folder: Path, classes: Sequence[str]) -> LabeledPhoto:
    name, index, label = ((row[column] or "").strip() for column in _COLUMNS)
    if not index.isdecimal() or int(index) >= len(classes):
        raise ConfigError(f"{where}: class_index = {index!r}: this pool has classes 0 to {len(classes) - 1}")
    known = classes[int(index)]
    if label != known and label in classes:
        raise ConfigError(f"{where}: class {index} is {known!r} for this pool, not {label!r}")
    path = folder / name
    if not name or not path.is_file():
        raise ConfigError(f"{where}: file = {name!r}: no such file in {folder}")
    return LabeledPhoto(path, int(index), (row.get("source") or "").strip())
