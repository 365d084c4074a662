"""What is sent of a model: its files, read and checked on the workstation."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.contract.commands import ModelsAddArgs
from edged.contract.labels import check_output, shown
from edged.contract.model_file import file_in, is_onnx, is_tflite, weight_files
from edged.contract.signed_bundle import SIGNATURE, BundleSignature, facts
from edged.ctl.patches import Patches, bases
from edged.errors import ConfigError
from edged.terminal.text import file_name

FAMILIARITY = "familiarity.npz"


@dataclass(frozen=True)
class Parcel:
    """What is sent of a model.

    Attributes:
        model: Content of the .tflite or .onnx file.
        familiarity: Content of familiarity.npz; None: there is none.
        weights: Content of the file beside an .onnx file in which its weights lie; None: there is none.
        wanted: What else `models_add` says; its "name" is the model's.
        patches: What makes the model out of others; with none the whole model is sent.
    """

    model: bytes
    familiarity: bytes | None
    weights: bytes | None
    wanted: dict[str, Any]
    patches: Patches

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.wanted["name"])

    @property
    def facts(self) -> dict[str, str]:
        """What a signature of this bundle is of."""
        crop = self.wanted["crop"]
        return facts(
            name=self.name,
            crop=ModelsAddArgs.model_fields["crop"].default if crop is None else crop,
            model=hashlib.sha256(self.model).hexdigest(),
            labels=self.wanted["labels"],
            manifest=self.wanted["manifest"],
            familiarity=None if self.familiarity is None else hashlib.sha256(self.familiarity).hexdigest(),
        )


def read_parcel(
    source: Path,
    *,
    labels: Path | None = None,
    name: str | None = None,
    replace: bool = False,
    without_familiarity: bool = False,
    base: Path | None = None,
    whole: bool = False,
    unsigned: bool = False,
    crop: float | None = None,
    normalisation: dict[str, Any] | None = None,
    size: tuple[int, int] | None = None,
) -> Parcel:
    """Read what shall be sent.

    Args:
        source: A bundle's folder, or a .tflite or .onnx file.
        labels: A file of labels, one a line; needed for a model's file.
        name: What to call the model; None: as its manifest, or its file.
        replace: Take the place of a model of this name.
        without_familiarity: Leave familiarity.npz out.
        base: A model that the devices have, see `patches.bases`.
        whole: Make no patches.
        unsigned: Leave out what the file `signature` of a bundle says.
        crop: Part of the shorter side that is looked at; None: as the manifest says.
        normalisation, size: Of an .onnx file, see `ModelsAddArgs`.

    Raises:
        ConfigError: A file is missing or is not what it should be; names it.
    """
    manifest: dict[str, Any] = {}
    if source.is_dir():
        model_file, labels_file = file_in(source), labels or source / "labels.txt"
        if (source / "manifest.json").is_file():
            manifest = _read_manifest(source / "manifest.json")
        own_name = manifest.get("name") or source.resolve().name
    else:
        if labels is None:
            raise ConfigError(f"{source}: --labels FILE is needed for a model's file")
        model_file, labels_file, own_name = source, labels, source.stem
    model, name = read_model(model_file, onnx=True), model_name(name, str(own_name))
    of_onnx: dict[str, Any] = {"normalisation": normalisation, "size": size}
    of_onnx = {key: value for key, value in of_onnx.items() if value is not None}  # an older edged knows none of them
    if of_onnx and not is_onnx(model):
        option = "mean" if normalisation is not None else "size"
        raise ConfigError(f"--{option} belongs to an .onnx file; a .tflite file says it itself")
    digest = hashlib.sha256(model).hexdigest()
    if (said := manifest.get("sha256", digest)) != digest:
        raise ConfigError(
            f"{source / 'manifest.json'}: sha256 starts with {str(said)[:12]}, that of {model_file} with {digest[:12]}"
        )
    if crop is None and isinstance(manifest.get("input"), dict):
        crop = manifest["input"].get("crop")
    licence, origin = manifest.get("licence"), manifest.get("source")
    wanted = {
        "name": name,
        "labels": _read_labels(labels_file),
        "crop": crop,
        "licence": licence if isinstance(licence, str) else None,
        "source": origin if isinstance(origin, str) else None if origin else f"pushed from {file_name(source)}",
        "manifest": manifest or None,
        "replace": replace,
        **of_onnx,
    }
    familiarity = None if without_familiarity else _read_familiarity(source)
    found = {} if whole else bases(source, base)
    weights = None if source.is_dir() or not is_onnx(model) else _read_weights(source, model)
    parcel = Parcel(model, familiarity, weights, wanted, Patches(model, found, named=base is not None))
    if not unsigned:
        wanted["signature"] = _read_signature(source, parcel.facts)
    return parcel


def read_model(path: Path, *, onnx: bool = False) -> bytes:
    """Return the content of a .tflite file.

    Args:
        path: The file.
        onnx: Whether an .onnx file will do too.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    model = _read(path)
    if not (is_tflite(model) or (onnx and is_onnx(model))):
        raise ConfigError(f"{path}: is no TensorFlow Lite model{', and no ONNX model' if onnx else ''}")
    return model


def model_name(given: str | None, own: str) -> str:
    """Return what a model is called: as the command line says, or what can be made of its own name.

    Raises:
        ConfigError: It cannot be called so.
    """
    name = given or re.sub(r"[^A-Za-z0-9_.-]", "-", own).strip("-._")[:64]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', beginning with one of both")
    return name


def _read_labels(path: Path) -> list[str]:
    try:
        labels = [line.strip() for line in _read(path).decode("utf-8-sig").rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    if "" in labels:
        raise ConfigError(f"{path}: line {labels.index('') + 1} is empty; every line names one output")
    for number, label in enumerate(labels, 1):
        try:
            check_output(label)
        except ValueError as error:
            raise ConfigError(f"{path}: line {number}: label {shown(label)}: {error}") from error
    return labels


def _read_familiarity(source: Path) -> bytes | None:
    path = source / FAMILIARITY
    return _read(path) if source.is_dir() and path.exists() else None


def _read_weights(source: Path, model: bytes) -> bytes | None:
    """Return what lies in the file beside an .onnx file that it says its weights are in; None: it has them itself.

    Raises:
        ConfigError: They are in more than one, elsewhere, or cannot be read.
    """
    names = sorted(weight_files(model))
    if not names:
        return None
    if len(names) > 1 or Path(names[0]).name != names[0]:
        raise ConfigError(f"{source}: has its weights in {', '.join(names[:3])}; export them into one file beside it")
    return _read(source.parent / names[0])


def _read_signature(source: Path, told: dict[str, str]) -> str | None:
    """Return what the file `signature` says; None: there is none.

    Raises:
        ConfigError: It is of something else than what shall be sent.
    """
    path = source / SIGNATURE
    if not source.is_dir() or not path.exists():
        return None
    try:
        text = _read(path).decode()
        BundleSignature.parse(text).check(told)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}; sign it anew (edgectl models sign), or remove that file") from error
    return text


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(path))
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise ConfigError(f"{path}: is no manifest")
    return manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
