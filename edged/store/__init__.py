"""Models on disk: bundles that are installed, versions that were trained, and which of them runs.

`bundle` reads a folder, `store` changes which one is current, `durable` writes so that a power cut leaves the old or
the new. Labeled images are in `edged.images`; where models can be had, in `edged.zoo`.
"""

from edged.store.bundle import (
    Bundle,
    InputSize,
    Manifest,
    parse_labels,
    read_bundle,
    read_labels,
)
from edged.store.store import Store

__all__ = [
    "Bundle",
    "InputSize",
    "Manifest",
    "Store",
    "parse_labels",
    "read_bundle",
    "read_labels",
]
