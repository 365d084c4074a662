"""What becomes of a trained model: its manifest, and a bundle outside the store for `edged retrain --out`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edged.errors import TrainingError
from edged.store import Bundle, Manifest, read_bundle
from edged.store.bundle import LABELS, MANIFEST, MODEL, encode_labels
from edged.store.durable import write_folder
from edged.store.lock import aside
from edged.vision.graph import Graph

if TYPE_CHECKING:
    from edged.contract.reports import TrainingReport
    from edged.learning.backbone import Backbone


def new_manifest(model: bytes, backbone: Backbone, report: TrainingReport) -> Manifest:
    """Return the manifest of a retrained model.

    Args:
        model: Content of the .tflite file.
        backbone: What it was retrained from.
        report: Of its training.
    """
    source = backbone.bundle.manifest
    return Manifest.model_validate(
        {
            "name": f"{source.backbone}-retrained"[-64:],
            "sha256": hashlib.sha256(model).hexdigest(),
            "input": {**source.input.model_dump(), "crop": backbone.crop},
            "outputs": Graph(model).outputs,
            "backbone": source.backbone,
            "backbone_sha256": source.backbone_sha256,
            "parent": backbone.bundle.id,
            "training": report.to_json(),
            "source": f"retrained from {source.backbone} on labeled images",
            "licence": source.licence,
        }
    )


def check_folder(folder: Path) -> None:
    """Make sure that `write_bundle` may write there: nothing, an empty folder, or an older bundle.

    Raises:
        TrainingError: Something else lies there.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(f"{folder}: is there already and is no bundle; name a new or empty folder")


def write_bundle(folder: Path, model: bytes, labels: Sequence[str], manifest: Manifest) -> Bundle:
    """Write a bundle's folder, whole or not at all; an older bundle at this place is replaced.

    Raises:
        TrainingError: Something else lies there, or it cannot be written.
    """
    folder = folder.absolute()
    check_folder(folder)
    files = {MODEL: model, LABELS: encode_labels(labels), MANIFEST: manifest.encode()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_folder(folder, files, aside=aside(folder))
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    return read_bundle(folder)
