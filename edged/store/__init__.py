"""Models on disk: bundles that are installed, versions that were trained, and which of them runs.

`bundle` reads a folder, `store` changes which one is current, `detectors` are apart from both, `durable` writes so that
a power cut leaves the old or the new. Labeled images are in `edged.images`; where models can be had, in `edged.zoo`.
"""

from edged.contract.model_file import MODEL
from edged.store import durable
from edged.store.bundle import (
    FAMILIARITY,
    LABELS,
    MANIFEST,
    Bundle,
    InputSize,
    Manifest,
    bundle_files,
    parse_labels,
    read_bundle,
    read_labels,
)
from edged.store.detectors import DetectorManifest, Detectors, InstalledDetector
from edged.store.lock import aside
from edged.store.store import Store

__all__ = [
    "FAMILIARITY",
    "LABELS",
    "MANIFEST",
    "MODEL",
    "Bundle",
    "DetectorManifest",
    "Detectors",
    "InputSize",
    "InstalledDetector",
    "Manifest",
    "Store",
    "aside",
    "bundle_files",
    "durable",
    "parse_labels",
    "read_bundle",
    "read_labels",
]
