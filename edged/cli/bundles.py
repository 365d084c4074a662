"""Models as a command line names them, and as `edged models` prints them: rows for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import ModelError

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Bundle, Store
    from edged.zoo.catalogue import Entry


@dataclass(frozen=True)
class FoundModel:
    """A model that was asked for.

    Attributes:
        name: What to call it.
        file: The .tflite file.
        content: What is in it.
        folder: Of the bundle that it is in; None: it is a file alone.
        id: The bundle's.
        crop: Part of an image's shorter side that it looks at.
        labels: Of its outputs; empty where they are unknown.
        familiarity: Content of its familiarity.npz; None: it has none.
    """

    name: str
    file: Path
    content: bytes
    folder: Path | None
    id: str | None
    crop: float
    labels: Sequence[str]
    familiarity: bytes | None = None


def find_model(wanted: str | None, configuration: Settings) -> FoundModel:
    """Return the model that a command line asks for.

    Args:
        wanted: Name or id of an installed one, a bundle's folder, or a .tflite file; None: what runs.
        configuration: Where models are installed, and what runs.

    Raises:
        ModelError: There is none, or it is damaged.
    """
    from edged.store import Store, read_bundle

    if wanted is not None and wanted.endswith((".tflite", ".onnx")):
        from edged.vision.preprocess import IMAGENET_CROP

        path = Path(wanted)
        try:
            return FoundModel(path.stem, path, path.read_bytes(), None, None, IMAGENET_CROP, ())
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    store = Store(configuration.storage.state_dir)
    if wanted is None:
        bundle = store.current(configuration.model.name)
    elif os.sep in wanted or wanted in (".", ".."):
        bundle = read_bundle(Path(wanted))
    else:
        bundle = store.find(wanted)
    return FoundModel(
        name=bundle.name,
        file=bundle.file,
        content=bundle.read_model(),
        folder=bundle.path,
        id=bundle.id,
        crop=bundle.manifest.input.crop,
        labels=bundle.labels,
        familiarity=bundle.read_familiarity(),
    )


def origin(bundle: Bundle, store: Store) -> str:
    """Return "version", "added" or "shipped"."""
    if bundle.path.parent == store.path / "versions":
        return "version"
    return "added" if bundle.path.parent == store.path / "models" else "shipped"


def row(bundle: Bundle, status: str, current: bool) -> dict[str, Any]:
    """Return what there is to tell about a bundle in one line."""
    size = bundle.manifest.input
    return {
        "name": bundle.name,
        "id": bundle.id,
        "status": status,
        "current": current,
        "width": size.width,
        "height": size.height,
        "classes": len(bundle.labels),
        "backbone": bundle.backbone,
        "accuracy": bundle.accuracy,
    }


def available(name: str, entry: Entry) -> dict[str, Any]:
    """Return what there is to tell about a model that can be pulled."""
    return {
        "name": name,
        "id": entry.sha256[:12],
        "status": "available",
        "current": False,
        "width": entry.width,
        "height": entry.height,
        "megabytes": round(entry.bytes / 1e6, 1),
        "description": entry.description,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of `row` and `available` for people."""
    from edged.terminal.tables import console, plain_table

    words = ("model", "id", "input", "")
    table = plain_table("model", "id", "input", "classes", "top-1", "", left=words, folded=("",))
    for row in rows:
        state = {"available": f"{row.get('megabytes')} MB: edged models pull {row['name']}"}.get(
            row["status"], row["status"]
        )
        accuracy = row.get("accuracy")
        table.add_row(
            row["name"],
            row["id"],
            f"{row['width']}×{row['height']}",
            str(row.get("classes", "")),
            "" if accuracy is None else f"{accuracy:.1%}",
            f"{state}, {'used' if state == 'detector' else 'runs'}" if row["current"] else state,
        )
    console(plain_width=160).print(table)


def print_fields(fields: dict[str, Any], as_json: bool) -> None:
    """Print everything about one model."""
    if as_json:
        print(json.dumps(fields, ensure_ascii=False))
        return
    width = max(map(len, fields))
    for key, value in fields.items():
        print(f"{key:{width}}  {_text(key, value)}")


def _text(key: str, value: Any) -> str:
    if key == "labels" and len(value) > 10:
        return f"{'; '.join(value[:5])}; … ({len(value)} in all)"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "unknown" if value is None else str(value)
