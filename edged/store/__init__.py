"""Models on disk: bundles that are installed, versions that were trained, and which of them runs."""

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
