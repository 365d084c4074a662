"""`edged models`: which networks are installed, which can be pulled, and whether they are sound."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.model_table import available, origin, print_fields, print_table, row
from edged.errors import ConfigError, EdgedError, ModelError

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import Store


def register(subparsers: Any) -> None:
    """Add `models` and its subcommands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list, pull, add and verify networks",
        description="Networks on this machine, and those that can be pulled.",
    )
    commands = parser.add_subparsers(dest="models_command", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="configuration (default: /etc/edged/edged.toml)"
        )
        command.set_defaults(run=run)
        return command

    command = add("list", _list, "list what is installed and what can be pulled")
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    command = add("show", _show, "tell everything about one model")
    command.add_argument("name", metavar="NAME", help="name or id")
    command.add_argument("--json", action="store_true", help="one JSON object, labels included")
    command = add("pull", _pull, "download a model of the catalogue and install it")
    command.add_argument("name", metavar="NAME", help="a name from `edged models list`")
    command = add("use", _use, "let another model answer from the daemon's next start on")
    command.add_argument("name", metavar="NAME|ID", help="an installed model, or a version")
    command = add("verify", _verify, "recompute hashes and run each network once")
    command.add_argument("name", metavar="NAME", nargs="?", help="name or id (default: all)")
    command = add("add", _add, "install a quantized TFLite classifier of your own")
    command.add_argument("file", metavar="FILE.tflite", type=Path)
    command.add_argument(
        "--labels", required=True, type=Path, metavar="FILE", help="UTF-8, one label per line, line n for output n"
    )
    command.add_argument("--name", help="default: from the file's name")
    command.add_argument(
        "--crop",
        type=float,
        default=0.875,
        metavar="F",
        help="part of the shorter side that is looked at (%(default)s)",
    )
    command.add_argument("--replace", action="store_true", help="take the place of an installed model of this name")
    command = add("remove", _remove, "remove a model that was added or pulled")
    command.add_argument("name", metavar="NAME")


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
    from edged.zoo import read_catalogue

    configuration, store = _open(args, changes=False)
    running = _current_path(configuration, store)
    installed = store.installed()
    rows = [row(bundle, origin(bundle, store), bundle.path == running) for bundle in installed]
    rows += [row(bundle, "version", bundle.path == running) for bundle in store.versions()]
    names = {bundle.path.name for bundle in installed}
    rows += [available(name, entry) for name, entry in read_catalogue().items() if name not in names]
    if args.json:
        for each in rows:
            print(json.dumps(each, ensure_ascii=False))
    else:
        print_table(rows)
    return 0


def _show(args: argparse.Namespace) -> int:
    from edged.zoo import read_catalogue

    configuration, store = _open(args, changes=False)
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
    from edged.terminal.progress import progress
    from edged.zoo import pull

    _, store = _open(args, changes=True)
    before = {bundle.path: bundle.id for bundle in store.installed()}
    with progress(f"pull {args.name}", unit="bytes") as tell:
        bundle = pull(args.name, store, tell)
    state = "was installed already" if before.get(bundle.path) == bundle.id else "installed"
    print(f"{bundle.name} ({bundle.id}) {state}: {bundle.path}")
    return 0


def _use(args: argparse.Namespace) -> int:
    from edged.cli.promotion import describe_current, make_current, without_daemon
    from edged.zoo import verify

    configuration, store = _open(args, changes=True)
    bundle = store.find(args.name)
    verify(bundle, configuration.model.runtime)  # a daemon that cannot load it would not start
    with without_daemon(configuration, f"edgectl models use {args.name}"):
        print(describe_current(make_current(configuration, store, bundle)))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from edged.zoo import verify

    configuration, store = _open(args, changes=False)
    folders = store.folders() if args.name is None else [store.find(args.name).path]
    if not folders:
        raise ConfigError("no model is installed")
    failed = 0
    for folder in folders:
        try:
            print(_verified(folder, verify, configuration))
        except EdgedError as error:
            failed += 1
            print(f"edged: {error}", file=sys.stderr)
    return 1 if failed else 0


def _verified(folder: Path, verify: Callable[..., Any], configuration: Settings) -> str:
    from edged.store import read_bundle

    bundle = read_bundle(folder)
    network, inference = verify(bundle, configuration.model.runtime)
    return (
        f"{bundle.name} ({bundle.id}): sound; {network.width}×{network.height}, {network.classes} classes, "
        f"{network.features} features, {inference.invoke_ms:.1f} ms on {network.runtime}"
    )


def _add(args: argparse.Namespace) -> int:
    from edged.store import read_labels
    from edged.zoo import install, name_from_file

    model, labels = _read_model_file(args.file), read_labels(args.labels)  # as whoever named them
    _, store = _open(args, changes=True)
    bundle = install(
        store,
        model,
        labels,
        name=name_from_file(args.file) if args.name is None else args.name,
        origin=str(args.file),
        crop=args.crop,
        source=f"added from {args.file.name}",
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
    configuration, store = _open(args, changes=True)
    store.remove(args.name)
    print(f"{args.name} removed")
    if args.name == configuration.model.name:
        with contextlib.suppress(ModelError):
            store.current(configuration.model.name)
            return 0
        print(f"edged: model.name = {args.name!r} is configured, but not installed any more", file=sys.stderr)
    return 0
