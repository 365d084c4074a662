"""A device's models: list, push, use, remove.

Examples:
  edgectl models list
  edgectl models use inception_v3
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.errors import CommandError, ConfigError
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client

_FAMILIARITY = "familiarity.npz"


def register(commands: Commands) -> None:
    """Add the family and `rollback`."""
    family = commands.family("models", __doc__)
    family.add("list", run_list)
    use = family.add("use", run_use)
    use.add_argument("model", metavar="NAME|ID", help="an installed model, or a version")
    removed = family.add("remove", run_remove)
    removed.add_argument(
        "models", nargs="+", metavar="NAME|ID", help="an installed model, or the first digits of a version's id"
    )
    removed.add_argument("--previous", action="store_true", help="even the version that a rollback goes back to")
    push = family.add("push", run_push)
    push.add_argument("source", metavar="DIR|TFLITE", type=Path, help="what to send")
    push.add_argument("--labels", metavar="FILE", type=Path, help="one label per line, in the outputs' order")
    push.add_argument("--name", metavar="N", help="what to call it (else the file's name)")
    push.add_argument(
        "--without-familiarity",
        action="store_true",
        help="leave familiarity.npz out: the model will call nothing unknown",
    )
    push.add_argument("--replace", action="store_true", help="take the place of a model of this name")
    commands.add("rollback", run_rollback)


def run_list(args: argparse.Namespace) -> int:
    """List installed models and trained versions.

    Examples:
      edgectl models list
      edgectl --device tx2-01 models list --json
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.tables import console, print_part
    from edged.terminal.text import print_json

    def show(device: str, job: Job) -> None:
        models = [model for model in (job.report or {}).get("models") or () if isinstance(model, dict)]
        if args.json:
            for model in models:
                print_json({"device": device, **model})
        else:
            print_part(console(), _table(device, models))

    return ask_each(args, "models_list", {}, show)


def run_use(args: argparse.Namespace) -> int:
    """Let another model answer.

    Examples:
      edgectl models use inception_v3
      edgectl models use 7acac0195403
    """
    from edged.ctl.jobs import ask_each

    return ask_each(args, "models_use", {"model": args.model}, _answers(args))


def run_remove(args: argparse.Namespace) -> int:
    """Delete models or trained versions, to make room on the device.

    Never what runs or came with edged. The version that `edgectl rollback` goes back to only with --previous.

    Examples:
      edgectl models remove 7acac0195403
      edgectl models remove inception_v3 4f1a 92bc
    """
    from edged.ctl.jobs import answer, ask_each

    show = answer(args, lambda told: f"{told.get('removed')} removed, {(told.get('bytes') or 0) / 1e6:.1f} MB")
    given = [{"model": model, "previous": args.previous or None} for model in args.models]
    return max(ask_each(args, "models_remove", wanted, show) for wanted in given)


def run_rollback(args: argparse.Namespace) -> int:
    """Let the model before the current one answer again.

    Examples:
      edgectl --device tx2-01 rollback
    """
    from edged.ctl.jobs import ask_each

    return ask_each(args, "rollback", {}, _answers(args))


def run_push(args: argparse.Namespace) -> int:
    """Send a model to a device and install it.

    A bundle's folder (model.tflite, labels.txt, manifest.json, and familiarity.npz, by which it knows what it was not
    taught), or a quantized .tflite classifier and its labels. It does not answer before `edgectl models use NAME`. A
    slow device is waited for as long as it is there.

    Examples:
      edgectl models push ./my_model
      edgectl models push birds.tflite --labels birds.txt --name birds
    """
    from edged.ctl.fleet import addressed
    from edged.terminal.text import print_json, print_line

    model, wanted = _read_source(args)
    familiarity = None if args.without_familiarity else _read_familiarity(args.source)
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        for device in devices:
            job = _push(client, device, model, familiarity, wanted, quiet=args.json)
            if job is None:
                worst = FAILED
            elif args.json:
                print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
            else:
                report = job.report or {}
                print_line(
                    f"{device}: {report.get('name')} ({report.get('id')}) installed; "
                    f"`edgectl models use {report.get('name')}` lets it answer"
                )
    return worst


def _push(
    client: Client, device: str, model: bytes, familiarity: bytes | None, wanted: dict[str, Any], *, quiet: bool
) -> Job | None:
    """Send a model's files to one device and let it install them.

    Returns:
        The job that succeeded; None where it did not, which was said on stderr.
    """
    from edged.ctl.jobs import finish
    from edged.ctl.presence import PATIENCE_S, Presence
    from edged.ctl.upload import Upload
    from edged.terminal.progress import progress
    from edged.terminal.text import note

    name = str(wanted["name"])
    with Presence(client, device) as presence:
        try:
            if familiarity is not None:  # first: it is the smaller one
                sent = Upload(client, device, familiarity, f"{name} {_FAMILIARITY}").run(presence, quiet=quiet)
                wanted = {**wanted, "familiarity": sent}
            wanted = {**wanted, "sha256": Upload(client, device, model, name).run(presence, quiet=quiet)}
            ack = client.command(device, "models_add", wanted, timeout_s=max(PATIENCE_S, client.timeout_s))
        except CommandError as error:  # the other devices are still asked
            note("edgectl", str(error))
            if "args.familiarity: unknown field" in str(error):
                note(
                    "edgectl",
                    f"{device} runs an edged that takes no {_FAMILIARITY}; --without-familiarity sends none",
                )
            return None
        presence.answered()
        with progress(f"{device} {name}", quiet=quiet) as tell:
            for job in client.jobs(ack.id, is_there=presence.is_there):
                presence.answered()
                tell(job.progress, text=job.stage or job.status, stage=job.stage or job.status)
    client.forget(ack.id)
    return job if finish(job, device) == DONE else None


def _answers(args: argparse.Namespace) -> Any:
    from edged.terminal.text import print_json, print_line

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        if args.json:
            print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
        else:
            print_line(f"{device}: {report.get('name')} ({report.get('id')}) answers")

    return show


def _read_source(args: argparse.Namespace) -> tuple[bytes, dict[str, Any]]:
    """Return the model's file and what else `models_add` wants.

    Raises:
        ConfigError: A file is missing or is not what it should be; names it.
    """
    source: Path = args.source
    manifest: dict[str, Any] = {}
    if source.is_dir():
        model_file, labels_file = source / "model.tflite", args.labels or source / "labels.txt"
        if (source / "manifest.json").is_file():
            manifest = _read_manifest(source / "manifest.json")
        name = manifest.get("name") or source.resolve().name
    else:
        if args.labels is None:
            raise ConfigError(f"{source}: --labels FILE is needed for a model's file")
        model_file, labels_file, name = source, args.labels, source.stem
    model = _read(model_file)
    if model[4:8] != b"TFL3":
        raise ConfigError(f"{model_file}: is no TensorFlow Lite model")
    try:
        labels = [line.strip() for line in _read(labels_file).decode("utf-8-sig").rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{labels_file}: is not UTF-8 text") from error
    if "" in labels:
        raise ConfigError(f"{labels_file}: line {labels.index('') + 1} is empty; every line names one output")
    from edged.contract.labels import check_output, shown  # with pydantic, which help has no use for

    for number, label in enumerate(labels, 1):
        try:
            check_output(label)
        except ValueError as error:
            raise ConfigError(f"{labels_file}: line {number}: label {shown(label)}: {error}") from error
    name = args.name or re.sub(r"[^A-Za-z0-9_.-]", "-", str(name)).strip("-._")[:64]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', beginning with one of both")
    digest = hashlib.sha256(model).hexdigest()
    if (said := manifest.get("sha256", digest)) != digest:
        raise ConfigError(
            f"{source / 'manifest.json'}: sha256 starts with {str(said)[:12]}, that of {model_file} with {digest[:12]}"
        )
    crop = manifest.get("input", {}).get("crop") if isinstance(manifest.get("input"), dict) else None
    licence, origin = manifest.get("licence"), manifest.get("source")
    return model, {
        "name": name,
        "labels": labels,
        "crop": crop,
        "licence": licence if isinstance(licence, str) else None,
        "source": origin if isinstance(origin, str) else None if origin else f"pushed from {source.name}",
        "manifest": manifest or None,
        "replace": args.replace,
    }


def _read_familiarity(source: Path) -> bytes | None:
    path = source / _FAMILIARITY
    return _read(path) if source.is_dir() and path.exists() else None


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


def _table(device: str, models: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN, percent

    table = Table(title=text(device), title_justify="left", box=box.SIMPLE)
    for name in ("state", "model", "id", "classes", "accuracy"):
        side: Any = "right" if name in ("classes", "accuracy") else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=name == "id")
    for model in models:
        state = "runs" if model.get("current") else "before" if model.get("previous") else str(model.get("kind"))
        accuracy = model.get("accuracy")
        shown = percent(accuracy) if isinstance(accuracy, int | float) else UNKNOWN
        values = [str(model.get(key, UNKNOWN)) for key in ("name", "id", "classes")]
        table.add_row(text(state, "green" if state == "runs" else ""), *(text(value) for value in values), shown)
    return table
