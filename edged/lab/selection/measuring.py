"""Runs every network of a pool on every photo, in turn, and takes the time. The part that touches the world."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import read_image
from edged.errors import ConfigError, ImageError
from edged.lab.energy import energy_of_image_mj
from edged.lab.selection.measurements import Measurements
from edged.selection.features import costs_ms, extract
from edged.selection.governor import total_power_mw
from edged.selection.pool import common_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.lab.photos import LabeledPhoto
    from edged.selection.pool import Member
    from edged.sensors import Sensors

MIN_PHOTOS = 20
"""Fewer labeled photos tell nothing about accuracies."""
_TIMED_PHOTOS = 40
_MEMORY_MAX = 4_000_000_000


def measure(
    members: Sequence[Member],
    photos: Sequence[LabeledPhoto],
    *,
    sensors: Sensors,
    progress: Callable[[str, float], None],
    on_unreadable: Callable[[str], None],
    order: Sequence[str] | None = None,
) -> Measurements:
    """Measure a pool.

    Networks run in turn on each photo, so that a busy moment of the machine meets all of them. A network's cost is the
    median time of preparing its input and the first percentile of the invocation's: that takes equally long for every
    photo, what is longer was disturbed by another process, and a long invocation is disturbed more often than a short
    one. Decoding the photo is the camera's cost.

    Args:
        members: The networks.
        photos: Labeled photos to run them on.
        sensors: Read for the machine's power.
        progress: Called with the stage and the share done.
        on_unreadable: Called with one line about a photo that cannot be read; the photo is left out.
        order: Names in the order that fitted strategies know; None: by cost.

    Returns:
        Measurements with networks in that order.

    Raises:
        ConfigError: Too few photos can be read, or the scores would not fit into memory.
    """
    classes = len(common_labels(members[0].bundle.labels))
    if len(members) * len(photos) * classes * 4 > _MEMORY_MAX:
        most = _MEMORY_MAX // (len(members) * classes * 4)
        raise ConfigError(f"{len(photos)} photos are too many for {len(members)} networks; use at most {most}")
    scores = np.empty((len(members), len(photos), classes), np.float32)
    prepare_ms, invoke_ms = np.empty((2, len(members), len(photos)))
    features: list[NDArray[np.float32]] = []
    kept: list[LabeledPhoto] = []
    some_images: list[NDArray[np.uint8]] = []
    for number, photo in enumerate(photos):
        progress("measuring", number / len(photos))
        try:
            image = read_image(photo.path)
        except ImageError as error:
            on_unreadable(str(error))
            continue
        for index, member in enumerate(members):
            begin = time.perf_counter_ns()
            prepared = member.network.prepare(image)
            prepare_ms[index, len(kept)] = (time.perf_counter_ns() - begin) / 1e6
            inference = member.network.infer(prepared)
            scores[index, len(kept)] = member.common(inference)
            invoke_ms[index, len(kept)] = inference.invoke_ms
        features.append(extract(image))
        if number % max(1, len(photos) // _TIMED_PHOTOS) == 0:
            some_images.append(image)
        kept.append(photo)
    if len(kept) < MIN_PHOTOS:
        raise ConfigError(f"only {len(kept)} photos can be read; at least {MIN_PHOTOS} are needed")
    progress("measuring", 1.0)
    costs = np.median(prepare_ms[:, : len(kept)], axis=1) + np.quantile(invoke_ms[:, : len(kept)], 0.01, axis=1)
    by_cost = np.argsort(costs, kind="stable").tolist()
    places = by_cost if order is None else [[member.name for member in members].index(name) for name in order]
    return Measurements(
        networks=tuple(members[index].name for index in places),
        scores=scores[places, : len(kept)],
        classes=np.array([photo.class_index for photo in kept], np.int64),
        features=np.stack(features),
        network_ms=costs[places],
        feature_ms=costs_ms(some_images[: 2 * _TIMED_PHOTOS]),
        memory_mb=np.array([members[index].memory_mb for index in places]),
        energy_mj=_energy([members[index] for index in places], some_images[0], sensors),
        sources=np.array([photo.source for photo in kept], np.str_),
    )


def _energy(members: Sequence[Member], image: NDArray[np.uint8], sensors: Sensors) -> NDArray[np.float64] | None:
    """Return what the machine takes for one run of each network, input included; None where no sensor tells."""
    if total_power_mw(sensors.read()) is None:
        return None
    found = [energy_of_image_mj(member.network, image, sensors) for member in members]
    return None if None in found else np.array(found, np.float64)
