"""`edged models convert`: a network that is here, in another format."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

from edged.cli.bundles import FoundModel, find_model
from edged.errors import ConfigError, ModelError, StorageError

SUFFIX = "-onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `models convert` takes."""
    parser.add_argument("name", metavar="NAME|FILE", help="name or id of a model, a bundle's folder, or a .tflite file")
    parser.add_argument("--to", required=True, choices=("onnx",), help="the format")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write this file, and install nothing")
    parser.add_argument("--name", dest="new_name", metavar="NAME", help=f"of the new model (default: NAME{SUFFIX})")
    parser.add_argument("--replace", action="store_true", help="take the place of an installed model of this name")


def convert_model(args: argparse.Namespace) -> int:
    """Make an ONNX model of a TFLite one: the same weights, so nearly always the same answers.

    What is made is installed beside the other, for `model.runtime = "onnx"`; with --out it is only written.

    Examples:
      edged models convert mobilenet_v2 --to onnx
      edged models convert birds.tflite --to onnx --out birds.onnx
    """
    from edged.cli.state import open_device
    from edged.vision.onnx_conversion import convert

    device = open_device(args.config, changes=args.out is None)
    found = find_model(args.name, device.settings)
    if found.content[4:8] != b"TFL3":
        raise ConfigError(f"{found.file}: is no TensorFlow Lite model; there is nothing to convert")
    if args.out is None and not found.labels:
        raise ConfigError(f"{found.file}: a file has no labels; name a file to write with --out")
    try:
        model = convert(_exposed(found), unsigned=True)
    except ModelError as error:
        raise ModelError(f"{found.file}: {error}") from error
    if args.out is not None:
        _write(args.out, model)
        print(f"{args.out}: {len(model)} bytes, sha256 {hashlib.sha256(model).hexdigest()[:12]}")
        return 0
    return _install(args, device.state_dir, found, model)


def _exposed(found: FoundModel) -> bytes:
    from edged.vision.graph import Graph

    return Graph(found.content).expose_bottleneck()


def _write(path: Path, model: bytes) -> None:
    from edged.store import durable

    try:
        durable.write_file(path, model)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def _install(args: argparse.Namespace, state_dir: Path, found: FoundModel, model: bytes) -> int:
    from edged.store import Store, read_bundle
    from edged.zoo.install import install

    manifest = None if found.folder is None else read_bundle(found.folder).manifest
    lineage: dict[str, Any] = {"converted_from": found.id}
    if manifest is not None and manifest.training is None and manifest.accuracy is not None:
        lineage["accuracy"] = manifest.accuracy | {"of": found.id}
    licence = None if manifest is None or not isinstance(manifest.licence, str) else manifest.licence
    bundle = install(
        Store(state_dir),
        model,
        found.labels,
        name=args.new_name or f"{found.name}{SUFFIX}"[-64:],
        origin=str(found.file),
        crop=found.crop,
        source=f"converted from {found.name} ({found.id})",
        licence=licence,
        lineage=lineage,
        familiarity=found.familiarity,
        replace=args.replace,
    )
    print(f"{bundle.name} ({bundle.id}) installed: {bundle.path}")
    return 0
