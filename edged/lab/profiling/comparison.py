"""Models in one table: accuracy on labeled photos, milliseconds, millijoules, megabytes, multiply-accumulates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.codec import read_image
from edged.contract.reports import ComparedModel
from edged.errors import ConfigError, ImageError
from edged.lab.energy import energy_of_image_mj
from edged.lab.profiling.costs import costs
from edged.selection.governor import total_power_mw
from edged.vision.flatbuffer import unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.photos import LabeledPhoto
    from edged.sensors import Sensors
    from edged.types import Vector
    from edged.vision.network import Network

_BACKGROUND = 1001
"""Outputs of an ImageNet network whose output 0 is "background"; its classes are one higher."""


@dataclass(slots=True)
class Candidate:
    """A model to compare, and what was measured so far.

    Attributes:
        name: As the table calls it.
        model: Content of the .tflite file.
        network: The same, ready to run.
        labels: What its outputs are called; none where that is not known.
        times_ms: One per photo: the invocation.
        cpu_s: One per photo: processor time of all threads.
        judged: Number of photos that show one of its classes.
        top1, top5: On how many of these the right class was the best, or among the best five.
        energy_mj: Of the whole machine for one photo; None where no sensor tells.
    """

    name: str
    model: bytes
    network: Network
    labels: Sequence[str]
    times_ms: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    judged: int = 0
    top1: int = 0
    top5: int = 0
    energy_mj: float | None = None


def compare(
    candidates: Sequence[Candidate],
    photos: Sequence[LabeledPhoto],
    tell: Callable[[str, float], None],
    sensors: Sensors | None = None,
) -> list[ComparedModel]:
    """Show every photo to every model, in turn, so that a busy machine slows all alike.

    Args:
        candidates: What is compared.
        photos: What they are shown.
        tell: Called with the stage and the share done.
        sensors: Read for the machine's power, while each model classifies one photo for two seconds; None: not at all.

    Returns:
        One row per model.

    Raises:
        ConfigError: None of the photos can be read.
    """
    truth = [_Truth(candidate) for candidate in candidates]
    read = 0
    last: NDArray[np.uint8] | None = None
    for place, photo in enumerate(photos):
        tell(f"photo {place + 1} of {len(photos)}", place / len(photos))
        try:
            image = read_image(photo.path)
        except ImageError:
            continue
        read, last = read + 1, image
        for candidate, classes in zip(candidates, truth, strict=True):
            prepared = candidate.network.prepare(image)
            begin = time.process_time()
            inference = candidate.network.infer(prepared)
            candidate.cpu_s.append(time.process_time() - begin)
            candidate.times_ms.append(inference.invoke_ms)
            if (right := classes.of(photo)) is not None:
                _judge(candidate, inference.scores, right)
    if last is None:
        raise ConfigError(
            f"none of the {len(photos)} images can be read, e.g. {photos[0].path}" if photos else "no image"
        )
    if sensors is not None and total_power_mw(sensors.read()) is not None:
        for place, candidate in enumerate(candidates):
            tell(f"energy of {candidate.name}", place / len(candidates))
            candidate.energy_mj = energy_of_image_mj(candidate.network, last, sensors)
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

    def of(self, photo: LabeledPhoto) -> int | None:
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
    candidate.top1 += int(best[0] == right)
    candidate.top5 += int(right in best)


def _row(candidate: Candidate, unreadable: int) -> ComparedModel:
    counted = costs(unpack(candidate.model))
    ms, images, judged = float(np.median(candidate.times_ms)), len(candidate.times_ms), candidate.judged
    accuracy = candidate.top1 / judged if judged else None
    more: dict[str, Any] = {}
    if candidate.energy_mj is not None:
        more["energy_mj"] = round(candidate.energy_mj, 2)
    if accuracy is None:
        more["note"] = f"{candidate.name}: no image's label is among its classes; accuracy is left out"
    elif judged < images:
        more["note"] = f"{candidate.name}: {judged} of {images} images show one of its classes"
    elif unreadable:
        more["note"] = f"{unreadable} images cannot be read and do not count"
    return ComparedModel(
        name=candidate.name,
        images=images,
        judged=judged,
        accuracy=None if accuracy is None else round(accuracy, 4),
        top5=round(candidate.top5 / judged, 4) if judged else None,
        ms=round(ms, 4),
        cpu_ms=round(float(np.median(candidate.cpu_s)) * 1e3, 4),
        mb=round(len(candidate.model) / 1e6, 3),
        macs=sum(cost.macs for cost in counted),
        params=sum(cost.params for cost in counted),
        accuracy_per_ms=None if accuracy is None else round(accuracy / ms, 5),
        **more,
    )
