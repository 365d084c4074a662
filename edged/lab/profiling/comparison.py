"""Models in one table: accuracy on labeled photos, milliseconds, megabytes, multiply-accumulates."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.codec import read_image
from edged.errors import ConfigError, ImageError
from edged.lab.profiling.costs import costs
from edged.lab.profiling.photos import photo_files
from edged.vision.flatbuffer import unpack

if TYPE_CHECKING:
    from edged.types import Vector
    from edged.vision.network import Network

_BACKGROUND = 1001
"""Outputs of an ImageNet network whose output 0 is "background"; its classes are one higher."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A labeled photo; at least one of label and class index is given, or neither where accuracy is not asked for."""

    path: Path
    label: str | None = None
    class_index: int | None = None


@dataclass(slots=True)
class Candidate:
    """A model to compare, and what was seen of it."""

    name: str
    model: bytes
    network: Network
    labels: Sequence[str]
    times_ms: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    judged: int = 0
    first: int = 0
    fifth: int = 0


def labeled_photos(folder: Path, labels: Path | None) -> list[Photo]:
    """Find photos and what they show.

    Args:
        folder: Photos in one folder per label; with `labels`, in any order.
        labels: CSV with a column `file` (relative to the folder or the CSV) and `class_index` or `label`.

    Raises:
        ConfigError: One line that names the file: missing, no such column, a row without a photo.
    """
    if labels is None:
        folders = {file: file.parent.relative_to(folder).parts for file in photo_files(folder)}
        return [Photo(file, label=parts[0] if parts else None) for file, parts in folders.items()]
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of images")
    try:
        with labels.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{labels}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    columns = set(rows[0]) if rows else set()
    if "file" not in columns or not columns & {"class_index", "label"}:
        raise ConfigError(
            f"{labels}: needs the columns file, and class_index or label; has {', '.join(columns) or 'none'}"
        )
    photos = []
    for number, row in enumerate(rows, start=2):
        index = row.get("class_index") or ""
        if index and not index.isdecimal():
            raise ConfigError(f"{labels}: line {number}: class_index {index!r} is not a number from 0")
        photos.append(Photo(folder / (row["file"] or ""), row.get("label") or None, int(index) if index else None))
    return photos


def spread(photos: Sequence[Photo], limit: int) -> list[Photo]:
    """Return at most `limit` photos (0: all), evenly over the whole."""
    if not limit or len(photos) <= limit:
        return list(photos)
    return [photos[place] for place in np.linspace(0, len(photos) - 1, limit).round().astype(int)]


def compare(
    candidates: Sequence[Candidate], photos: Sequence[Photo], tell: Callable[[str, float], None]
) -> list[dict[str, Any]]:
    """Show every photo to every model, in turn, so that a busy machine slows all alike.

    Returns:
        Per model {name, images, judged, accuracy, top5, ms, cpu_ms, mb, macs, params, accuracy_per_ms, note}: top-1
        and top-5 accuracy 0..1, None where no photo's label is among the model's; `ms` the median invocation, `cpu_ms`
        its processor time, `accuracy_per_ms` the ratio of top-1 and `ms`.

    Raises:
        ConfigError: None of the photos can be read.
    """
    truth = [_Truth(candidate) for candidate in candidates]
    read = 0
    for place, photo in enumerate(photos):
        tell(f"photo {place + 1} of {len(photos)}", place / len(photos))
        try:
            image = read_image(photo.path)
        except ImageError:
            continue
        read += 1
        for candidate, classes in zip(candidates, truth, strict=True):
            prepared = candidate.network.prepare(image)
            begin = time.process_time()
            inference = candidate.network.infer(prepared)
            candidate.cpu_s.append(time.process_time() - begin)
            candidate.times_ms.append(inference.invoke_ms)
            if (right := classes.of(photo)) is not None:
                _judge(candidate, inference.scores, right)
    if not read:
        raise ConfigError(
            f"none of the {len(photos)} images can be read, e.g. {photos[0].path}" if photos else "no image"
        )
    return [_row(candidate, len(photos) - read) for candidate in candidates]


class _Truth:
    """Which output of a model is right for a photo."""

    def __init__(self, candidate: Candidate) -> None:
        self._classes = candidate.network.classes
        self._offset = 1 if self._classes == _BACKGROUND else 0
        self._places: dict[str, int] = {}
        for place, label in enumerate(candidate.labels):
            for name in (label, label.split(",", maxsplit=1)[0]):
                self._places.setdefault(name.strip().casefold(), place)

    def of(self, photo: Photo) -> int | None:
        """Return the output's index, None where the model has no such class.

        ImageNet's networks share its numbers, and some of its names stand for two classes ("crane"): there the number
        decides, elsewhere the label.
        """
        index = photo.class_index
        if index is not None and (self._classes in (1000, _BACKGROUND) or photo.label is None):
            index += self._offset
            return index if index < self._classes else None
        if photo.label is None:
            return None
        names = (photo.label, photo.label.split(",", maxsplit=1)[0])
        places = (self._places.get(name.strip().casefold()) for name in names)
        return next((place for place in places if place is not None), None)


def _judge(candidate: Candidate, scores: Vector, right: int) -> None:
    best = np.argsort(-scores, kind="stable")[:5]
    candidate.judged += 1
    candidate.first += int(best[0] == right)
    candidate.fifth += int(right in best)


def _row(candidate: Candidate, unreadable: int) -> dict[str, Any]:
    counted = costs(unpack(candidate.model))
    ms = float(np.median(candidate.times_ms))
    accuracy = candidate.first / candidate.judged if candidate.judged else None
    row: dict[str, Any] = {
        "name": candidate.name,
        "images": len(candidate.times_ms),
        "judged": candidate.judged,
        "accuracy": None if accuracy is None else round(accuracy, 4),
        "top5": round(candidate.fifth / candidate.judged, 4) if candidate.judged else None,
        "ms": round(ms, 4),
        "cpu_ms": round(float(np.median(candidate.cpu_s)) * 1e3, 4),
        "mb": round(len(candidate.model) / 1e6, 3),
        "macs": sum(cost.macs for cost in counted),
        "params": sum(cost.params for cost in counted),
        "accuracy_per_ms": None if accuracy is None else round(accuracy / ms, 5),
    }
    if accuracy is None:
        row["note"] = f"{candidate.name}: no image's label is among its classes; accuracy is left out"
    elif candidate.judged < row["images"]:
        row["note"] = f"{candidate.name}: {candidate.judged} of {row['images']} images show one of its classes"
    elif unreadable:
        row["note"] = f"{unreadable} images cannot be read and do not count"
    return row
