"""What the installed networks were trained on: a shipped table, because the images themselves are not on the device."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.store import Bundle

TABLE = Path(__file__).with_name("known_sources.json")
"""Made by tools/build_known_sources.py."""


IMAGENET = "ImageNet"
"""The name of this data set in the table."""


@dataclass(frozen=True)
class KnownSource:
    """One network's source.

    Attributes:
        dataset: What it was trained on.
        images: Number of training images in that data set.
        accuracy: Top-1 of this architecture, trained on ImageNet, 0..1, as published.
        mean: (features,) float64: mean bottleneck of photos like those of the data set, in the reference network.
        photos: Number of photos that `mean` was taken over.
    """

    dataset: str
    images: int
    accuracy: float
    mean: NDArray[np.float64]
    photos: int


@dataclass(frozen=True)
class KnownSources:
    """The table.

    Attributes:
        reference_sha256: sha256 of the reference network, whose bottlenecks the means are; several files may hold it.
        by_sha256: sha256 of a network → its source.
    """

    reference_sha256: frozenset[str]
    by_sha256: dict[str, KnownSource]

    def of(self, bundle: Bundle) -> KnownSource | None:
        """Return the source of a bundle's backbone; None where it is not known."""
        return self.by_sha256.get(bundle.manifest.backbone_sha256)


@functools.cache
def read_known_sources(path: Path = TABLE) -> KnownSources:
    """Read the table."""
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    by_sha256 = {}
    for name, dataset in table["datasets"].items():
        mean = np.frombuffer(base64.b64decode(dataset["mean"]), "<f2").astype(np.float64)
        for network in dataset["networks"]:
            by_sha256[network["sha256"]] = KnownSource(
                name, dataset["images"], network["imagenet_top1"], mean, dataset["photos"]
            )
    return KnownSources(frozenset(table["reference"]["sha256"]), by_sha256)
