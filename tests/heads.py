"""The shipped network with a head that tells the drawn pictures of `tests.albums` apart, and heads that are worse."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.codec import decode
from edged.store import read_bundle
from edged.vision.graph import Graph, read_graph
from edged.vision.network import Network
from tests.albums import LABELS, picture
from tests.networks import SHIPPED

_PICTURES = 8
"""Of each label, that a head is fitted to."""
_LIMITS = (-8.0, 8.0)


@functools.cache
def headed(taught: tuple[str, ...] = LABELS) -> bytes:
    """Return a model with an output for each of `LABELS`, by which mean picture an image is nearest to.

    Args:
        taught: What it was taught to call checks, discs and stripes: in another order, it errs.
    """
    model = read_graph(read_bundle(SHIPPED).read_model()).expose_bottleneck()
    centres = _centres(model)[[taught.index(label) for label in LABELS]]
    mean = centres.mean(axis=0)
    weights = centres - mean
    bias = -(weights @ mean) - np.square(weights).sum(axis=1) / 2
    scale = _LIMITS[1] / np.abs(weights @ centres.T + bias[:, None]).max() / 2
    return Graph(model).replace_head((scale * weights).astype(np.float32), (scale * bias).astype(np.float32), _LIMITS)


@functools.cache
def _centres(model: bytes) -> NDArray[Any]:
    network = Network(model)
    size = (network.width, network.height)
    views = (
        network.prepare(decode(picture(label, seed), size)) for label in LABELS for seed in range(500, 500 + _PICTURES)
    )
    found = np.array([network.infer(view).embedding for view in views], np.float64)
    return found.reshape(len(LABELS), _PICTURES, -1).mean(axis=1)
