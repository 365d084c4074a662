"""A device's models: list, sign, push, use, remove.

Examples:
  edgectl models list
  edgectl models use inception_v3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.commands import model_push
from edged.errors import ConfigError
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job


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
    sign = family.add("sign", run_sign)
    sign.add_argument("source", metavar="DIR", type=Path, help="a bundle's folder")
    model_push.register(family)
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


def run_sign(args: argparse.Namespace) -> int:
    """Sign a bundle: write the file `signature` into its folder.

    It tells who made the model, whoever pushes it, and is made with the key that signs commands (`edgectl keygen`). A
    device with trusted keys installs the bundle only if one of them signed it, and nothing of it was altered since;
    `edged models verify` looks again.

    Examples:
      edgectl models sign ./my_model
    """
    from edged.contract.signed_bundle import SIGNATURE, BundleSignature, statement
    from edged.ctl.parcel import read_parcel
    from edged.ctl.signer import default_key_file, find_signer
    from edged.terminal.text import print_json, print_line

    if not args.source.is_dir():
        raise ConfigError(f"{args.source}: is no bundle's folder")
    parcel = read_parcel(args.source, whole=True, unsigned=True)
    signer = find_signer(args.signing_key)
    if signer is None:
        raise ConfigError(f"{default_key_file()}: no such key; make one: edgectl keygen")
    told = parcel.facts
    signature = BundleSignature(signer.sign(statement(told)), told)
    try:
        (args.source / SIGNATURE).write_text(signature.encode(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{args.source / SIGNATURE}: cannot be written: {(error.strerror or '').lower()}") from error
    if args.json:
        print_json({"file": str(args.source / SIGNATURE), "key": signature.signature.key.text, **told})
    else:
        print_line(f"{args.source / SIGNATURE}: {parcel.name} signed by {signature.signature.key.text}")
    return DONE


def _answers(args: argparse.Namespace) -> Any:
    from edged.terminal.text import print_json, print_line

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        if args.json:
            print_json({"device": device, **job.model_dump(exclude_none=True, mode="json")})
        else:
            print_line(f"{device}: {report.get('name')} ({report.get('id')}) answers")

    return show


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
