"""List, pull, add and verify networks.

Networks on this machine, and those that can be pulled.

Examples:
  edged models list
  edged models pull inception_v3
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli import adoption, detectors
from edged.cli.bundles import available, origin, print_fields, print_table, row
from edged.cli.conversion import add_arguments, convert_model
from edged.cli.options import add_config
from edged.errors import ConfigError, EdgedError, ModelError
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Bundle, Store


def register(commands: Commands) -> None:
    """Add `models` and its subcommands."""
    family = commands.family("models", __doc__, add_common=add_config)
    parser = family.add("list", _list)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser = family.add("show", _show)
    parser.add_argument("name", metavar="NAME", help="name or id")
    parser.add_argument("--json", action="store_true", help="one JSON object, labels included")
    parser = family.add("pull", _pull)
    parser.add_argument("name", metavar="NAME", help="a name from `edged models list`")
    parser = family.add("use", _use)
    parser.add_argument("name", metavar="NAME|ID", help="an installed model, or a version")
    parser = family.add("verify", _verify)
    parser.add_argument("name", metavar="NAME", nargs="?", help="name or id (default: all)")
    parser = family.add("add", _add)
    parser.add_argument("file", metavar="FILE", type=Path, help="a .tflite or .onnx file")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--labels", type=Path, metavar="FILE", help="UTF-8, one label per line, line n for output n")
    kind.add_argument(
        "--detector", action="store_true", help="it finds boxes (SSD) for a camera's regions, and names nothing"
    )
    parser.add_argument("--name", help="default: from the file's name")
    parser.add_argument(
        "--crop",
        type=float,
        default=0.875,
        metavar="F",
        help="part of the shorter side that is looked at (%(default)s)",
    )
    parser.add_argument("--replace", action="store_true", help="take the place of an installed model of this name")
    adoption.add_arguments(parser)
    add_arguments(family.add("convert", convert_model))
    parser = family.add("remove", _remove)
    parser.add_argument("name", metavar="NAME")


def _open(args: argparse.Namespace, *, changes: bool) -> tuple[Settings, Store]:
    from edged.cli.state import open_device
    from edged.store import Store

    device = open_device(args.config, changes=changes)
    return device.settings, Store(device.state_dir)


def _current_path(configuration: Settings, store: Store) -> Path | None:
    """Folder of what runs; None where the configured model is not installed."""
    try:
        return store.current(configuration.model.name).path
    except ModelError:
        return None


def _list(args: argparse.Namespace) -> int:
    """List what is installed and what can be pulled.

    Examples:
      edged models list
      edged models list --json
    """
    from edged.zoo.catalogue import read_catalogue

    configuration, store = _open(args, changes=False)
    running = _current_path(configuration, store)
    installed = store.installed()
    rows = [row(bundle, origin(bundle, store), bundle.path == running) for bundle in installed]
    rows += [row(bundle, "version", bundle.path == running) for bundle in store.versions()]
    names = {bundle.path.name for bundle in installed}
    rows += [detectors.row(detector, configuration) for detector in store.detectors.installed()]
    names |= set(store.detectors.names())
    rows += [available(name, entry) for name, entry in read_catalogue().items() if name not in names]
    if args.json:
        for each in rows:
            print(json.dumps(each, ensure_ascii=False))
    else:
        print_table(rows)
    return 0


def _show(args: argparse.Namespace) -> int:
    """Tell everything about one model.

    Examples:
      edged models show mobilenet_v2
    """
    from edged.zoo.catalogue import read_catalogue

    configuration, store = _open(args, changes=False)
    if args.name in store.detectors.names():
        print_fields(detectors.fields(store.detectors.find(args.name), configuration), args.json)
        return 0
    try:
        bundle = store.find(args.name)
    except ModelError:
        if (entry := read_catalogue().get(args.name)) is None:
            raise
        print_fields(available(args.name, entry) | {"sources": [str(source) for source in entry.sources]}, args.json)
        return 0
    fields = row(bundle, origin(bundle, store), bundle.path == _current_path(configuration, store))
    fields |= {"path": str(bundle.path)} | bundle.manifest.model_dump(mode="json", exclude_none=True)
    fields["accuracy"] = bundle.accuracy
    print_fields(fields | {"labels": list(bundle.labels)}, args.json)
    return 0


def _pull(args: argparse.Namespace) -> int:
    """Download a model of the catalogue and install it.

    Examples:
      edged models pull inception_v3
    """
    from edged.terminal.progress import progress
    from edged.zoo.install import pull

    _, store = _open(args, changes=True)
    before = {bundle.path: bundle.id for bundle in store.installed()}
    with progress(f"pull {args.name}", unit="bytes") as tell:
        bundle = pull(args.name, store, tell)
    state = "was installed already" if before.get(bundle.path) == bundle.id else "installed"
    print(f"{bundle.name} ({bundle.id}) {state}: {bundle.path}")
    return 0


def _use(args: argparse.Namespace) -> int:
    """Let another model answer from the daemon's next start on.

    Examples:
      edged models use inception_v3
      edged models use 7acac0195403
    """
    from edged.cli.promotion import describe_current, make_current, without_daemon
    from edged.zoo.install import verify

    configuration, store = _open(args, changes=True)
    bundle = store.find(args.name)
    verify(bundle, configuration.model.engine)  # a daemon that cannot load it would not start
    with without_daemon(configuration, f"edgectl models use {args.name}"):
        print(describe_current(make_current(configuration, store, bundle)))
    return 0


def _verify(args: argparse.Namespace) -> int:
    """Recompute hashes, run each network once, and read what tells it unknown things.

    Examples:
      edged models verify
    """
    from edged.terminal.text import note

    configuration, store = _open(args, changes=False)
    names = [name for name in store.detectors.names() if args.name in (None, name)]
    checks = [partial(_verified_detector, name, store, configuration) for name in names]
    if args.name is None or not names:
        folders = store.folders() if args.name is None else [store.find(args.name).path]
        checks = [*(partial(_verified, folder, configuration) for folder in folders), *checks]
    if not checks:
        raise ConfigError("no model is installed")
    failed = 0
    for check in checks:
        try:
            print(check())
        except EdgedError as error:
            failed += 1
            note("edged", str(error))
    return 1 if failed else 0


def _verified(folder: Path, configuration: Settings) -> str:
    from edged.store import read_bundle
    from edged.zoo.install import check_familiarity, verify

    bundle = read_bundle(folder)
    examined = verify(bundle, configuration.model.engine)
    check_familiarity(bundle, examined.features)
    signed = _check_signature(bundle, configuration)
    return (
        f"{bundle.name} ({bundle.id}): sound; {examined.width}×{examined.height}, {examined.classes} classes, "
        f"{examined.features} features, {examined.invoke_ms:.1f} ms on {examined.runtime}{signed}"
    )


def _verified_detector(name: str, store: Store, configuration: Settings) -> str:
    return detectors.verified(store.detectors.find(name), configuration)


def _check_signature(bundle: Bundle, configuration: Settings) -> str:
    """Verify who signed a bundle, where somebody did; the end of the line about it.

    Raises:
        ModelError: Nobody whom this device trusts, or another bundle.
    """
    from edged.contract.signed_bundle import SIGNATURE, facts
    from edged.mqtt.trust import Trust
    from edged.store import FAMILIARITY, MANIFEST

    if (text := bundle.read_signature()) is None:
        return ""
    familiarity = bundle.read_familiarity() if f"\n{FAMILIARITY} " in text else None  # else it is this device's own
    told = facts(
        name=bundle.name,
        crop=bundle.manifest.input.crop,
        model=bundle.manifest.sha256,
        labels=bundle.labels,
        manifest=None,  # this device's own
        familiarity=None if familiarity is None else hashlib.sha256(familiarity).hexdigest(),
    )
    try:
        verified = Trust(configuration.security.trusted_keys).check_bundle(text, told, but=[MANIFEST])
    except ValueError as error:
        raise ModelError(f"{bundle.path / SIGNATURE}: {error}") from error
    return "; its signature is good" if verified else "; signed, by whom is not looked at without security.trusted_keys"


def _add(args: argparse.Namespace) -> int:
    """Install a network of your own: a classifier (quantized TFLite, or ONNX as PyTorch exports it), or a detector.

    An .onnx file may hold real numbers or be quantized (QDQ). How pixels become its input is read from its metadata, or
    said by --mean and --std, as shares of full scale.

    A detector is a .tflite file of the SSD kind, quantized or of real numbers, with boxes, classes, scores and their
    count as its outputs. A camera with regions = "detector:NAME" uses it; its classes are not looked at.

    Examples:
      edged models add birds.tflite --labels birds.txt --name birds
      edged models add birds.onnx --labels birds.txt --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
      edged models add ssd_mobilenet_v2.tflite --detector --name things
    """
    from edged.store import read_labels
    from edged.terminal.text import file_name
    from edged.zoo.install import install, name_from_file

    if args.detector:
        model = _read_model_file(args.file)
        _, store = _open(args, changes=True)
        detector = detectors.add(args, model, store)
        print(f"{detector.name} ({detector.id}), a detector, installed: {detector.path}")
        return 0
    model, labels = _read_model_file(args.file), read_labels(args.labels)  # as whoever named them
    model, lineage = adoption.adopted(args, model)
    _, store = _open(args, changes=True)
    bundle = install(
        store,
        model,
        labels,
        name=name_from_file(args.file) if args.name is None else args.name,
        origin=str(args.file),
        crop=args.crop,
        source=f"added from {file_name(args.file)}",
        lineage=lineage,
        replace=args.replace,
    )
    print(f"{bundle.name} ({bundle.id}) installed: {bundle.path}")
    return 0


def _read_model_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is not a file")
        model = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not model:
        raise ModelError(f"{path}: is empty")
    return model


def _remove(args: argparse.Namespace) -> int:
    """Remove a model that was added or pulled.

    Examples:
      edged models remove birds
    """
    from edged.terminal.text import note

    configuration, store = _open(args, changes=True)
    if args.name in store.detectors.names():
        store.detectors.remove(args.name)
        print(f"{args.name} removed")
        for camera, detector in detectors.wanted(configuration).items():
            if detector == args.name:
                note(
                    "edged",
                    f'cameras.{camera}.regions = "detector:{detector}" is configured, but not installed any more',
                )
        return 0
    store.remove(args.name)
    print(f"{args.name} removed")
    if args.name == configuration.model.name:
        with contextlib.suppress(ModelError):
            store.current(configuration.model.name)
            return 0
        note("edged", f"model.name = {args.name!r} is configured, but not installed any more")
    return 0
