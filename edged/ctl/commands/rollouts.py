"""A roll-out that has begun: go on with it, or take it back.

Examples:
  edgectl rollout resume birds-3f2a91bc
  edgectl rollout abort birds-3f2a91bc
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.ctl.rollout.plan import per_cent, seconds, share, shares
from edged.errors import ConfigError
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.table import Table

    from edged.ctl.client import Client
    from edged.ctl.fleet import Fleet
    from edged.ctl.rollout.conductor import Conductor
    from edged.ctl.rollout.record import Phase, Record, RecordFile
    from edged.ctl.rollout.step import Send
    from edged.ctl.rollout.verdict import Limits

_FILES = ("password_file", "ca_file", "cert_file", "key_file", "signing_key")
_CONNECTION = ("broker", "prefix", "username", "max_bytes", *_FILES)
_PUSH = (
    *("source", "labels", "name", "without_familiarity", "replace", "base", "whole"),
    *("crop", "mean", "std", "bgr", "size"),
)
_BASELINE_S = 120.0


def register(commands: Commands) -> None:
    """Add `rollouts` and the family `rollout`."""
    commands.add("rollouts", run_list).set_defaults(without_context=True)
    family = commands.family("rollout", __doc__)
    for name, run in (("resume", run_resume), ("abort", run_abort)):
        parser = family.add(name, run)
        parser.set_defaults(without_context=True)  # it goes on where it was begun
        parser.add_argument("id", metavar="ID", help="of the roll-out, or how it begins or ends: `edgectl rollouts`")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add to `models push` what makes a roll-out of it."""
    group = parser.add_argument_group("roll-out: to some devices first")
    group.add_argument("--canary", metavar="N|P%", type=share, help="so many devices get it, and are watched, first")
    group.add_argument("--hold", metavar="TIME", type=seconds, help="how long each wave is watched: 90s, 10m, 1h (10m)")
    group.add_argument(
        "--waves", metavar="P%,…", type=shares, help="then so many, and so on, each watched like the canaries (100%%)"
    )
    group.add_argument(
        "--baseline",
        metavar="TIME",
        type=seconds,
        help="how long they are measured before (2m, or --hold if that is shorter)",
    )
    group.add_argument(
        "--slower", metavar="P%", type=per_cent, help="p95 latency may grow by this, frames per second fall (25%%)"
    )
    group.add_argument(
        "--unfamiliar", metavar="P%", type=per_cent, help="familiarity may fall by so many points, unknown rise (10%%)"
    )
    group.add_argument(
        "--less-accurate",
        metavar="P%",
        type=per_cent,
        help="accuracy on its own test images may fall so much (2%%)",
    )


def asked_for(args: argparse.Namespace) -> bool:
    """Whether the arguments of `models push` ask for a roll-out.

    Raises:
        ConfigError: They say how, and not that.
    """
    if args.canary is not None or args.waves is not None:
        return True
    for name in ("hold", "baseline", "slower", "unfamiliar", "less_accurate"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is about a roll-out: add --canary or --waves")
    return False


def begin(args: argparse.Namespace) -> int:
    """Begin the roll-out that `models push` asks for, or go on with it where it has begun."""
    from edged.ctl.commands.model_push import prepare
    from edged.ctl.fleet import addressed, look
    from edged.ctl.rollout.plan import waves_of
    from edged.ctl.rollout.record import DeviceRecord, Record, RecordFile, identity

    if args.device is None:
        raise ConfigError("a roll-out is for several devices: choose them with --device ('line-*', @GROUP, all …)")
    limits, hold_s, baseline_s = _limits(args), args.hold or 600.0, args.baseline
    if baseline_s is None:
        baseline_s = min(_BASELINE_S, hold_s)
    prepared = prepare(args)
    with open_client(args) as client:
        choice = chosen(args)
        assert choice is not None
        id_ = identity(prepared.id, prepared.name, choice.text, args.broker, args.prefix)
        online = addressed(client, choice)
        fleet = look(client, choice)
        has_it = {one.id for one in fleet.devices.values() if one.model is not None and one.model.id == prepared.id}
        known = {*online, *fleet.ids(), *choice.named()}
        record = Record(
            id=id_,
            model=prepared.id,
            name=prepared.name,
            push={name: _absolute(name, getattr(args, name)) for name in _PUSH},
            connection={name: _absolute(name, getattr(args, name)) for name in _CONNECTION},
            choice=choice.text,
            canary=args.canary is not None,
            waves=waves_of([one for one in online if one not in has_it], prepared.id, args.canary, args.waves or ()),
            limits=limits,
            hold_s=hold_s,
            baseline_s=baseline_s,
            devices={one: DeviceRecord(phase="there" if one in has_it else "waiting") for one in sorted(known)},
        )
        file = RecordFile(record)
        with file.claimed():
            file.reload()
            if file.record is not record and file.record.status != "back" and not _is_history(file.record, fleet):
                devices = {**record.devices, **file.record.devices}
                file.change(devices=devices, hold_s=hold_s, baseline_s=baseline_s, limits=limits)
                _say(args, f"roll-out {id_} goes on: {_stand(file.record)}")
            else:
                file.record = record
                file.change()
                _say(args, f"roll-out {id_}: {record.name} ({record.model}) to {len(record.devices)} devices")
            return _conductor(client, file, prepared.send, args).run()


def _is_history(record: Record, fleet: Fleet) -> bool:
    """Whether another model answers by now on each device that had got the roll-out's one: then it begins anew."""
    models = [fleet.devices[one].model for one in record.of("held", "there") if one in fleet.devices]
    return bool(models) and all(
        model is not None
        and model.id != record.model
        and (model.fallback is None or model.fallback.id != record.model)  # else it went back by itself
        for model in models
    )


def run_list(args: argparse.Namespace) -> int:
    """List roll-outs that were begun on this workstation.

    Their state is in $XDG_STATE_HOME/edged/rollouts (~/.local/state/edged/rollouts), a file each. Accuracy is that of
    the old model → the new one on the devices' own test images, where devices have judged it; --json tells it of each.

    Examples:
      edgectl rollouts
      edgectl rollouts --json
    """
    from edged.ctl.rollout.record import folder, records
    from edged.terminal.tables import console, print_part
    from edged.terminal.text import print_json, print_line

    found = records()
    if args.json:
        for record in found:
            print_json(record.model_dump(mode="json", exclude_none=True))
    elif found:
        print_part(console(plain_width=160), _table(found))
    else:
        print_line(f"no roll-out was begun here ({folder()})")
    return DONE


def run_resume(args: argparse.Namespace) -> int:
    """Go on with a roll-out that was interrupted, or with devices that were offline.

    What has been done on a device is asked from it, and not done again. A device that was being watched is watched for
    the whole time again. Login options are those that it was begun with, where none are given.

    Examples:
      edgectl rollout resume birds-3f2a91bc
      edgectl rollout resume 3f2a91bc
    """
    return _go_on(args, abort=False)


def run_abort(args: argparse.Namespace) -> int:
    """Take a roll-out back: each device that it has switched answers with the model that it had before.

    A device that is offline stays to be taken back: `edgectl rollout resume ID` tries again.

    Examples:
      edgectl rollout abort birds-3f2a91bc
    """
    return _go_on(args, abort=True)


def _go_on(args: argparse.Namespace, *, abort: bool) -> int:
    from edged.ctl.commands.model_push import prepare
    from edged.ctl.rollout.record import RecordFile, find

    file = RecordFile(find(args.id))
    with file.claimed():
        file.reload()
        record = file.record
        if record.status == "back" or (record.status == "done" and not abort):
            _say(args, f"roll-out {record.id}: {_stand(record)}; there is nothing left to do")
            return DONE
        given = {name: value for name in _CONNECTION[2:] if (value := getattr(args, name)) is not None}
        settings = argparse.Namespace(**{**vars(args), **record.connection, **given, "device": record.choice})
        _say(args, f"roll-out {record.id}: {_stand(record)}")
        if abort or record.status == "going back":
            with open_client(settings) as client:
                return _conductor(client, file, lambda *_: None, args).back()
        paths = {
            name: Path(value) for name, value in record.push.items() if name in ("source", "labels", "base") and value
        }
        push = {**dict.fromkeys(_PUSH), **record.push, **paths}  # one that began with an older edgectl knows fewer
        prepared = prepare(argparse.Namespace(**{**vars(settings), **push}))
        if prepared.id != record.model:
            raise ConfigError(f"{push['source']} is {prepared.id} by now, the roll-out's model was {record.model}")
        with open_client(settings) as client:
            return _conductor(client, file, prepared.send, args).run()


def _conductor(client: Client, file: RecordFile, send: Send, args: argparse.Namespace) -> Conductor:
    from edged.ctl.rollout.conductor import Conductor

    return Conductor(client, file, send, replace=bool(file.record.push.get("replace")), as_json=args.json)


def _limits(args: argparse.Namespace) -> Limits:
    from pydantic import ValidationError

    from edged.ctl.rollout.verdict import Limits

    given = {name: value for name in Limits.model_fields if (value := getattr(args, name)) is not None}
    try:
        return Limits(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error


def _absolute(name: str, value: Any) -> Any:
    """Return an argument so that it means the same in another folder, and as JSON."""
    if value is not None and name in (*_FILES, "source", "labels", "base"):
        return str(Path(value).expanduser().absolute())
    return value


def _stand(record: Record) -> str:
    parts = []
    stands: tuple[tuple[str, tuple[Phase, ...]], ...] = (
        ("have it", ("held", "there")),
        ("watched", ("switched", "switching")),
        ("to come" if record.status == "running" else "left alone", ("waiting", "installing", "installed")),
        ("to be taken back", ("going back",)),
        ("taken back", ("back",)),
        ("failed", ("failed",)),
    )
    for words, phases in stands:
        if found := record.of(*phases):
            parts.append(f"{len(found)} {words}")
    return ", ".join(parts)


def _say(args: argparse.Namespace, line: str) -> None:
    from edged.terminal.text import print_line

    if not args.json:
        print_line(line)


def _table(found: list[Record]) -> Table:
    from edged.ctl.rollout.telling import overall
    from edged.terminal.tables import device_table, text

    laid = device_table()
    for heading in ("roll-out", "begun", "status", "devices", "accuracy", "of"):
        laid.add_column(heading, overflow="fold")
    for record in found:
        status = {"back": "taken back", "going back": "taking back"}.get(record.status, record.status)
        begun, accuracy = record.begun[:16].replace("T", " "), overall(one.accuracy for one in record.devices.values())
        cells = (record.id, begun, status, _stand(record), accuracy, record.choice)
        laid.add_row(*(text(cell) for cell in cells))
    return laid
