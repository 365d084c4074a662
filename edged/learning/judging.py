"""Runs the exported file through the interpreter, as it will run later, and the model that answers now beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, TrainingError
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import Examples, KeptBottlenecks
from edged.vision.network import HeadNetwork, Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edged.images import ImageStore
    from edged.store import Bundle
    from edged.types import Vector

SPOT_CHECKS = 8
"""So many images go through the whole exported graph, see `spot_check`."""


def scores_of(model: bytes, backbone: Backbone, examples: Examples) -> Vector:
    """Return the exported model's scores (n, classes), from the bottlenecks of the plain views.

    Running the head alone on bottleneck bytes gives the whole graph's output byte for byte; `spot_check` makes sure.
    """
    features = examples.features[:, 0] if examples.features.ndim == 3 else examples.features
    return HeadNetwork(model, runtime=backbone.runtime).scores(features)


def spot_check(model: bytes, backbone: Backbone, examples: Examples) -> int:
    """Run whole images through the whole exported graph and compare with the head alone, score for score.

    Returns:
        How many images were checked.

    Raises:
        TrainingError: The runtime computes the two differently.
    """
    network = Network(model, runtime=backbone.runtime, crop=backbone.crop)
    head = HeadNetwork(model, runtime=backbone.runtime)
    count = min(SPOT_CHECKS, len(examples.images))
    checked = 0
    for index in np.linspace(0, len(examples.images) - 1, count).astype(int) if count else ():
        try:
            data = read_file(examples.images[index].path)
            image = decode(data, (network.width, network.height), crop=backbone.crop)
        except (ImageError, FileNotFoundError):  # gone since its bottleneck was computed
            continue
        prepared = network.prepare(image)
        whole = network.infer(prepared).scores
        alone = head.scores(network.embed(prepared)[np.newaxis])[0]
        if not np.array_equal(whole, alone):
            difference = float(np.abs(whole - alone).max())
            raise TrainingError(
                f"the exported model and its head alone differ by {difference:.4f} on {examples.images[index].path}"
            )
        checked += 1
    return checked


@dataclass(frozen=True)
class Incumbent:
    """How good the model that answers now is on the same test images.

    Attributes:
        id: Bundle id of this model.
        shared: (n,) bool over the test images: those whose label this model knows.
        correct: (k,) bool, on the k shared ones: whether it is right.
    """

    id: str
    shared: NDArray[np.bool_]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> float | None:
        """Share of the shared images on which it is right, 0..1; None without any."""
        return float(self.correct.mean()) if len(self.correct) else None


def judge_incumbent(
    current: Bundle,
    examples: Examples,
    kept: KeptBottlenecks,
    store: ImageStore,
    backbone: Backbone,
    *,
    workers: int,
    tell: Callable[[int, int], None],
) -> Incumbent:
    """Let the current model classify the test images whose labels it knows.

    Where its backbone is another than the new model's, their bottlenecks are computed and kept first.

    Args:
        current: The model that answers now.
        examples: The test images.
        kept: Bottlenecks of the new model's backbone.
        store: Where bottlenecks are kept.
        backbone: The new model's.
        workers: Number of threads.
        tell: Called with the number of images whose bottlenecks are computed, and of all.

    Raises:
        ModelError: The current model is damaged.
    """
    names = {label: number for number, label in reversed(list(enumerate(current.labels)))}
    shared = np.array([image.label in names for image in examples.images], bool)
    images = [image for image, known in zip(examples.images, shared, strict=True) if known]
    if not images:
        return Incumbent(current.id, shared, np.zeros(0, bool))
    own = Backbone.of(current, backbone.runtime, crop=current.manifest.input.crop)
    if (own.sha256, own.crop) != (backbone.sha256, backbone.crop):
        lost = {
            one.task.sha256 for one in complete(store, images, lambda _: ("plain",), own, workers=workers, tell=tell)
        }
        if lost:
            images = [image for image in images if image.sha256 not in lost]
            readable = np.array([image.sha256 not in lost for image in examples.images], bool)
            shared &= readable
        kept = KeptBottlenecks(store, own)
    if not images:
        return Incumbent(current.id, shared, np.zeros(0, bool))
    predicted = HeadNetwork(own.model, runtime=own.runtime).scores(kept.array(images)).argmax(axis=1)
    correct = [current.labels[index] == image.label for index, image in zip(predicted, images, strict=True)]
    return Incumbent(current.id, shared, np.array(correct, bool))
