"""A bundle: a folder of `model.tflite` (or `model.onnx`), `labels.txt` and `manifest.json`, complete in itself.

Where the model was trained on this device, `taught.json` beside them names the images that it was made of, and
`left_out.json` holds what heads that were not made of them said of them, so that the next training need not ask again.
`signature` says who made it, and of what (`contract.signed_bundle`).
`familiarity.npz` tells how alike a frame is to what the network was taught (`vision.familiarity`); without it nothing
is called unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edged.contract.labels import shown, unprintable
from edged.contract.model_file import MODEL, file_in, file_name
from edged.contract.signed_bundle import SIGNATURE
from edged.contract.topics import TopicLevel
from edged.errors import ModelError, first_mistake

LABELS, MANIFEST, TAUGHT = "labels.txt", "manifest.json", "taught.json"
FAMILIARITY = "familiarity.npz"
LEFT_OUT = "left_out.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class InputSize(BaseModel):
    """What the network takes: pixels, and the part of a frame's shorter side that the centre crop keeps."""

    model_config = ConfigDict(frozen=True, extra="allow")

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    crop: float = Field(default=0.875, gt=0, le=1)


class Manifest(BaseModel):
    """What `manifest.json` tells about a model. Fields that are not named here are kept.

    Attributes:
        name: What people call the model; one level of an MQTT topic.
        sha256: Of `model.tflite`, or `model.onnx`.
        input: Size and crop.
        backbone: Name of the network below the head; where none is given, the model's own.
        backbone_sha256: Of the un-retrained model whose backbone this is; where none is given, its own.
        outputs: What the model's outputs are ("logits" have no softmax behind them), where the bottleneck is one of
            them; None: the graph must be read to know.
        parent: Id of the bundle that this one was retrained from.
        tuned: Whether layers before the head were trained on labeled images of this device too: then what they make of
            these images, but for those of the test side, tells nothing of other images.
        training: The report of that training.
        accuracy: As measured, e.g. {"quantized": {"top1": 0.79}}; fractions or percent.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    v: Literal[1] = 1
    name: TopicLevel
    sha256: Sha256
    input: InputSize
    backbone: str
    backbone_sha256: Sha256
    outputs: tuple[Literal["scores", "logits"], Literal["bottleneck"]] | None = None
    parent: str | None = None
    tuned: bool = False
    training: dict[str, Any] | None = None
    source: str | dict[str, Any] | None = None
    licence: str | dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _own_backbone(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        own = {"backbone": values.get("name"), "backbone_sha256": values.get("sha256")}
        return own | {key: value for key, value in values.items() if key not in own or value is not None}

    def encode(self) -> bytes:
        """Return UTF-8 JSON for people to read too."""
        return (json.dumps(self.model_dump(exclude_none=True), indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Bundle:
    """A model that can be run: its folder, id, manifest and labels (one per output, in the outputs' order)."""

    path: Path
    id: str
    manifest: Manifest
    labels: tuple[str, ...]

    @property
    def file(self) -> Path:
        """Where its network lies."""
        return file_in(self.path)

    @property
    def name(self) -> str:
        """What people call the model."""
        return self.manifest.name

    @property
    def backbone(self) -> str:
        """Name of the network below the head."""
        return self.manifest.backbone

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy on images that training never saw, 0..1; None where unmeasured.

        For a model that was trained on this device it is the cross-validated one, on all labeled images: a test side of
        six says little. For any other it is that of its quantized graph.
        """
        if (training := self.manifest.training) is not None:
            judged = _fraction(training, "accuracy", "cross_validated")
            return judged if judged is not None else _fraction(training, "accuracy", "quantized")
        return _fraction(self.manifest.accuracy, "quantized", "top1")

    def read_model(self) -> bytes:
        """Read the network's file and compare it with its hash.

        Raises:
            ModelError: It cannot be read, or its content is not what the manifest says.
        """
        path = self.file
        model = _read(path)
        if (actual := hashlib.sha256(model).hexdigest()) != self.manifest.sha256:
            raise ModelError(
                f"{path}: damaged: its sha256 starts with {actual[:12]}, {MANIFEST} says {self.manifest.sha256[:12]}"
            )
        return model

    def read_taught(self) -> dict[str, str] | None:
        """Return image id → label of the labeled images that the model was made of, its test side included.

        None: it is not known, because the model came from elsewhere, or the file is damaged.
        """
        try:
            taught = json.loads((self.path / TAUGHT).read_bytes())
            return {str(image): str(label) for label, images in taught.items() for image in images}
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    def read_familiarity(self) -> bytes | None:
        """Return the content of its familiarity.npz, which `vision.familiarity` understands.

        None: there is none, or it cannot be read.
        """
        try:
            return (self.path / FAMILIARITY).read_bytes()
        except OSError:
            return None

    def read_signature(self) -> str | None:
        """Return the content of its file `signature`, see `contract.signed_bundle`; None: there is none.

        Raises:
            ModelError: It cannot be read.
        """
        if not (self.path / SIGNATURE).exists():
            return None
        return _read(self.path / SIGNATURE).decode("utf-8", "replace")

    def read_left_out(self) -> bytes | None:
        """Return the content of left_out.json, see `edged.learning.comparison.LeftOut`; None: there is none."""
        try:
            return (self.path / LEFT_OUT).read_bytes()
        except OSError:
            return None


def encode_taught(taught: Mapping[str, str]) -> bytes:
    """Return the content of a taught.json file: JSON, label → ids of its images.

    Args:
        taught: Image id → label.
    """
    of_label: dict[str, list[str]] = {}
    for image, label in sorted(taught.items()):
        of_label.setdefault(label, []).append(image)
    return (json.dumps(of_label, ensure_ascii=False, sort_keys=True) + "\n").encode()


def bundle_id(sha256: str) -> str:
    """Return the id of the model with this hash: its first 12 hex digits."""
    return sha256[:12]


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest and labels; the model itself is only read by `Bundle.read_model`.

    Raises:
        ModelError: One line that names the file: missing, not JSON, a wrong field, no labels.
    """
    if not path.is_dir():
        raise ModelError(f"{path}: no such model folder")
    manifest = _read_manifest(path / MANIFEST)
    labels = read_labels(path / LABELS)
    if not file_in(path).is_file():
        raise ModelError(f"{path / MODEL}: no such file")
    return Bundle(path=path, id=bundle_id(manifest.sha256), manifest=manifest, labels=labels)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a labels file: UTF-8, one label per line; line n names output n.

    Raises:
        ModelError: One line that names the file: missing, not UTF-8, an empty line, a label that cannot be shown, no
            label at all.
    """
    try:
        return parse_labels(_read(path))
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def parse_labels(data: bytes) -> tuple[str, ...]:
    """Split the content of a labels file.

    Raises:
        ValueError: Not UTF-8, an empty line between labels, a label that cannot be shown, or no label at all.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; labels are UTF-8 text, one per line") from error
    # Not splitlines(): a line ends as in every other program, and what else could end one is named below.
    labels = tuple(line.strip() for line in text.rstrip().split("\n"))
    if labels == ("",):
        raise ValueError("contains no label; one per line is needed")
    if "" in labels:
        raise ValueError(f"line {labels.index('') + 1} is empty; every line names one output")
    for number, label in enumerate(labels, 1):
        if (fault := unprintable(label)) is not None:
            raise ValueError(f"line {number}: label {shown(label)}: {fault}")
    return labels


def encode_labels(labels: Sequence[str]) -> bytes:
    """Return the content of a labels file.

    Raises:
        ModelError: A label cannot be shown, or would not come back as it was.
    """
    for label in labels:
        if (fault := unprintable(label)) is not None:
            raise ModelError(f"label {shown(label)}: {fault}")
    data = "".join(f"{label}\n" for label in labels).encode()
    try:
        faithful = parse_labels(data) == tuple(labels)
    except ValueError:
        faithful = False
    if not faithful:
        raise ModelError("labels must be one or more lines of text, none empty, without spaces around")
    return data


def bundle_files(
    model: bytes,
    labels: Sequence[str],
    manifest: Manifest,
    taught: Mapping[str, str] | None = None,
    familiarity: bytes | None = None,
    left_out: bytes | None = None,
) -> dict[str, bytes]:
    """Return name → content of a bundle's files.

    Args:
        model: Content of the .tflite or .onnx file.
        labels: One per output.
        manifest: What is told about it.
        taught: Image id → label; None: not known.
        familiarity: Content of familiarity.npz; None: there is none.

    Raises:
        ModelError: A label would not come back as it was.
    """
    files = {file_name(model): model, LABELS: encode_labels(labels), MANIFEST: manifest.encode()}
    if taught is not None:
        files[TAUGHT] = encode_taught(taught)
    if familiarity is not None:
        files[FAMILIARITY] = familiarity
    if left_out is not None:
        files[LEFT_OUT] = left_out
    return files


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(_read(path))
    except ValidationError as error:
        mistake = first_mistake(error)
        raise ModelError(f"{path}: {f'{mistake.key}: ' if mistake.key else ''}{mistake.text}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _fraction(tree: Any, *keys: str) -> float | None:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, bool) or not isinstance(tree, (int, float)):
        return None
    return tree / 100 if tree > 1 else float(tree)  # above 1 it can only be percent
