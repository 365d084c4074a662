"""Runs the exported file through the interpreter, as it will run later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, TrainingError
from edged.learning.bottlenecks import Backbone
from edged.learning.dataset import Examples
from edged.vision.graph import read_graph
from edged.vision.network import HeadNetwork, Network

if TYPE_CHECKING:
    from edged.types import Vector

_EXACT = 1e-4
"""Scores that differ by no more are the same."""

SPOT_CHECKS = 8
"""So many images go through the whole exported graph, see `spot_check`."""
FEWER_SPOT_CHECKS = 3
"""The same where the model that answers has just been checked so and only its weights are others, see `step`."""


def scores_of(model: bytes, backbone: Backbone, examples: Examples) -> Vector:
    """Return the exported model's scores (n, classes), from the bottlenecks of the plain views.

    Running the head alone on bottleneck bytes gives the whole graph's output byte for byte; `spot_check` makes sure.
    """
    features = examples.features[:, 0] if examples.features.ndim == 3 else examples.features
    return HeadNetwork(model, runtime=backbone.runtime).scores(features)


def spot_check(model: bytes, backbone: Backbone, examples: Examples, most: int = SPOT_CHECKS) -> int:
    """Run whole images through the whole exported graph and compare with the head alone, score for score.

    Args:
        model: The exported file.
        backbone: The network below its head.
        examples: The images.
        most: So many of them at most.

    Returns:
        How many images were checked.

    Raises:
        TrainingError: The runtime computes the two differently.
    """
    outputs = read_graph(model).outputs
    network = Network(model, runtime=backbone.runtime, crop=backbone.crop, outputs=outputs)
    head = HeadNetwork(model, runtime=backbone.runtime)
    count = min(most, len(examples.images))
    checked = 0
    for index in np.linspace(0, len(examples.images) - 1, count).astype(int) if count else ():
        try:
            data = read_file(examples.images[index].path)
            image = decode(data, (network.width, network.height), crop=backbone.crop)
        except (ImageError, FileNotFoundError):  # gone since its bottleneck was computed
            continue
        prepared = network.prepare(image)
        invoked = network.invoke(prepared)
        whole = network.decode(invoked).scores
        alone = head.scores(invoked.bottleneck[np.newaxis])[0]
        # Far less than a step of 8 bits: real numbers are added in another order in another batch.
        if (difference := float(np.abs(whole - alone).max())) > _EXACT:
            raise TrainingError(
                f"the exported model and its head alone differ by {difference:.4f} on {examples.images[index].path}"
            )
        checked += 1
    return checked
