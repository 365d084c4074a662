"""What of the taught images a bundle keeps, so that a frame can be compared with them. Pure numpy.

Every taught image is held out in turn: its similarity is taken to exemplars that are not near duplicates of it, its
energy from a head that was not made of it. So its score is that of a frame which the network has never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from edged.errors import ModelError
from edged.vision.familiarity import (
    MOST_EXEMPLARS,
    Familiarity,
    Head,
    Spread,
    common_direction,
    directions,
    energies,
    nearest,
    soft_minimum,
)
from edged.vision.graph import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.bottlenecks import Backbone
    from edged.types import Vector
    from edged.vision.familiarity import Bottlenecks
    from edged.vision.quantization import Affine


LEAST_HELD_OUT = 20
"""With fewer held-out images nothing can be said of one frame in twenty."""
_CANDIDATES = 1000
"""So many taught images, drawn at random, are looked at for the choice of exemplars: the cost grows with its square."""
_ROWS = 512


def common_to(backbone: Backbone) -> Vector:
    """Return the common direction of a network's bottlenecks, (features,); see `familiarity.common_direction`.

    A retrained network's own head tells too few classes apart: where it was the only one at hand to start from, its
    bundle knows.
    """
    common = common_direction(read_graph(backbone.model).head_weights())
    if not common.any() and (known := backbone.bundle.read_familiarity()) is not None:
        with suppress(ModelError):
            return Familiarity.decode(known).common
    return common


def choose(ready: NDArray[np.float32], seed: int = 0) -> NDArray[np.intp]:
    """Return which taught images are exemplars: each next one is the least alike to those before it.

    Farthest-first traversal (Gonzalez 1985, "Clustering to minimize the maximum intercluster distance") leaves no
    taught image far from all exemplars, so that rare views of a thing are kept as well as common ones.

    Args:
        ready: (n, features) what `familiarity.directions` makes of the bottlenecks.
        seed: Of the draw, where there are more than can be looked at.

    Returns:
        At most `MOST_EXEMPLARS` indices, ascending.
    """
    count = len(ready)
    if count <= MOST_EXEMPLARS:
        return np.arange(count)
    drawn = np.sort(np.random.default_rng(seed).permutation(count)[:_CANDIDATES])
    cosines = ready[drawn] @ ready[drawn].T
    first = int(cosines.sum(axis=1).argmax())
    chosen, closest = [first], cosines[first].copy()
    while len(chosen) < MOST_EXEMPLARS:
        chosen.append(int(closest.argmin()))
        np.maximum(closest, cosines[chosen[-1]], out=closest)
    return np.sort(drawn[chosen])


def familiarity_of(
    bottlenecks: Bottlenecks,
    affine: Affine,
    groups: Sequence[str],
    common: Vector,
    head: tuple[NDArray[np.float32], Vector] | None,
    left_out: NDArray[np.float32] | None,
) -> Familiarity | None:
    """Return what tells how alike a frame is to taught images.

    Args:
        bottlenecks: (n, features) bytes, one of each taught image.
        affine: Scale and zero point of the bytes.
        groups: n ids; near duplicates have the same one.
        common: (features,) see `familiarity.common_direction`.
        head: Weights (classes, features) and bias (classes,) of the head; None: similarity alone counts.
        left_out: (divisions, n, classes) what heads that were not made of an image make of it, NaN where none did, in
            the same units as the logits of `head`; needed with it.

    Returns:
        None where too few images can be held out to tell.
    """
    real = affine.dequantize(bottlenecks)
    ready = directions(real, common)
    chosen = choose(ready)
    ids = np.unique(np.array(groups), return_inverse=True)[1]
    similarity = _similarities(ready, chosen, ids)
    held = np.isfinite(similarity)
    energy = None
    if head is not None and left_out is not None:
        energy = _mean_energy(left_out)
        held &= np.isfinite(energy)
    if np.count_nonzero(held) < LEAST_HELD_OUT:
        return None
    spread = Spread.of(similarity[held])
    scores = spread.standardise(similarity[held])
    kept = None
    if head is not None and energy is not None:
        kept = Head(head[0].astype(np.float32), head[1].astype(np.float32), Spread.of(energy[held]))
        scores = soft_minimum(scores, kept.energy.standardise(energy[held]))
    return Familiarity(bottlenecks[chosen], affine, common, spread, kept, np.sort(scores))


def _similarities(
    ready: NDArray[np.float32], chosen: NDArray[np.intp], groups: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the similarity of each image to the exemplars of other groups, (n,); −inf: there are none."""
    found = np.empty(len(ready), np.float32)
    for begin in range(0, len(ready), _ROWS):
        part = slice(begin, begin + _ROWS)
        cosines = ready[part] @ ready[chosen].T
        cosines[groups[part, np.newaxis] == groups[chosen]] = -np.inf
        found[part] = nearest(cosines)
    return found


def _mean_energy(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean energy over the divisions that judged an image, (n,); NaN: none did."""
    judged = np.isfinite(logits).all(axis=-1)
    energy = energies(np.where(judged[..., np.newaxis], logits, 0))
    total = np.where(judged, energy, 0).sum(axis=0)
    return np.asarray(np.where(judged.any(axis=0), total / np.maximum(judged.sum(axis=0), 1), np.nan), np.float32)
