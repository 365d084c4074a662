"""A model beside the one that answers: how well both files name the device's own test images, as they would run.

It is how a roll-out asks for accuracy, and decides nothing: `offer` decides, by the gate of a training, whether a model
may answer. Both see the same images, those whose label the model that answers knows. Images of a label that it does not
know could not be named worse than now, and would hide how the others are named. A label that the new model has lost
counts against it, image by image; one that knows none of the labels is for another task, and nothing is judged.

Every image goes through both files. The bottlenecks that are kept would save that for a model of the same network, but
whether it is the same one is what its manifest says, and a network that was damaged on the way is to be found here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import decode, read_file
from edged.contract.reports import SideBySide
from edged.errors import ImageError
from edged.images import open_images
from edged.learning import gate
from edged.learning.incumbent import renamed_labels
from edged.learning.report import rounded
from edged.learning.request import ComparisonRequest, Progress
from edged.plural import counted
from edged.store import read_bundle
from edged.vision.network import Network, Runtime

if TYPE_CHECKING:
    from edged.images import LabeledImage
    from edged.store import Bundle

FEWEST = 4
"""Of fewer images, near duplicates counted once, no difference would be beyond chance, see `gate.beyond_chance`."""
_ENOUGH = 1000
"""Of more images only so many judge: their error is a point at most, and a device has other things to do."""


def compare(request: ComparisonRequest, tell: Callable[[Progress], None]) -> SideBySide:
    """Compare a model with the one that answers.

    Args:
        request: Which model.
        tell: Called with the progress.

    Raises:
        EdgedError: A model or the index of the images fails.
    """
    bundle, current = read_bundle(request.model), read_bundle(request.current)
    tell(Progress("scan", 0.0))
    with closing(open_images(request.state_dir, None, request.images_max_mb)) as store:
        store.scan()
        everything = store.labeled()
    renamed = renamed_labels(current.read_taught() or {}, {image.id: image.label for image in everything})
    old_labels = tuple(renamed.get(label, label) for label in current.labels)
    test = [image for image in everything if image.split == "test"]
    # In the order of their hashes: of many images the same ones each time, and of all labels.
    judges = sorted((image for image in test if image.label in old_labels), key=lambda image: image.sha256)[:_ENOUGH]
    told = SideBySide(model=bundle.id, name=bundle.name, against=current.id, images=len(judges))
    if (why := _why_not(test, judges, bundle.labels)) is not None:
        return told.model_copy(update={"why": why})
    workers = request.workers or os.cpu_count() or 1
    files = (_File(bundle, bundle.labels, request.runtime), _File(current, old_labels, request.runtime))
    shown = [file.names(judges, workers, _half(tell, place)) for place, file in enumerate(files)]
    read = [place for place, names in enumerate(zip(*shown, strict=True)) if None not in names]
    judges = [judges[place] for place in read]
    told = told.model_copy(update={"images": len(judges)})
    if (why := _why_not(test, judges, bundle.labels)) is not None:
        return told.model_copy(update={"why": why})
    ours, theirs = (
        np.array([names[place] == image.label for place, image in zip(read, judges, strict=True)], np.float64)
        for names in shown
    )
    difference = gate.estimate(ours - theirs, [image.group_id for image in judges])
    found = {
        "accuracy": rounded(float(ours.mean())),
        "previous": rounded(float(theirs.mean())),
        "beyond_chance": gate.beyond_chance(difference),
    }
    if unknown := sorted({image.label for image in judges} - set(bundle.labels)):
        return told.model_copy(update={**found, "unknown": tuple(unknown)})
    return told.model_copy(update=found)


def _half(tell: Callable[[Progress], None], files: int) -> Callable[[float], None]:
    """Return what is told the share of a file's images that are done, when so many of the two files are through."""
    return lambda share: tell(Progress("comparison", 0.05 + 0.475 * (files + share)))


def _why_not(test: Sequence[LabeledImage], judges: Sequence[LabeledImage], labels: Sequence[str]) -> str | None:
    """Return why nothing can be judged; None: it can.

    Args:
        test: The labeled images of the test side.
        judges: Those of them whose label the model that answers knows.
        labels: Of the new model.
    """
    if not test:
        return "no labeled image of the test side"
    if not judges:
        return f"the model that answers knows no label of the {counted(len(test), 'test image')}"
    if not any(image.label in labels for image in judges):
        return f"the new model knows no label of the {counted(len(judges), 'test image')}"
    if len({image.group_id for image in judges}) < FEWEST:
        return f"{counted(len(judges), 'test image')}, too few to tell"
    return None


@dataclass(frozen=True)
class _File:
    """A model's file, as it would run; `labels`: what its outputs are called by now."""

    bundle: Bundle
    labels: Sequence[str]
    runtime: Runtime

    def names(self, images: Sequence[LabeledImage], workers: int, tell: Callable[[float], None]) -> list[str | None]:
        """Return what the file calls each image; None: it cannot be read.

        Args:
            images: At least one.
            workers: Number of threads.
            tell: Called with the share of the images that are done, 0..1.
        """
        model, done = self.bundle.read_model(), count(1)
        workers = min(workers, len(images))

        def work(own: Sequence[LabeledImage]) -> list[str | None]:
            network = self._network(model)
            found = []
            for image in own:
                found.append(self._name(network, image))
                tell(next(done) / len(images))
            return found

        found: list[str | None] = [None] * len(images)
        with ThreadPoolExecutor(workers) as threads:
            for worker, own in enumerate(threads.map(work, [images[worker::workers] for worker in range(workers)])):
                found[worker::workers] = own
        return found

    def _network(self, model: bytes) -> Network:
        manifest = self.bundle.manifest
        return Network(model, runtime=self.runtime, crop=manifest.input.crop, outputs=manifest.outputs)

    def _name(self, network: Network, image: LabeledImage) -> str | None:
        try:
            shown = decode(read_file(image.path), (network.width, network.height), crop=self.bundle.manifest.input.crop)
        except (ImageError, FileNotFoundError):
            return None
        return self.labels[int(network.infer(network.prepare(shown)).scores.argmax())]
