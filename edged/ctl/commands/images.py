"""Labeled images to train on: push, list, get, label, suggest, groups, unlabel, remove, doubtful.

The photos that a device trains on, and the frames that it kept for a label.

Examples:
  edgectl images push flowers/
  edgectl images label --last roses
  edgectl images suggest
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.commands import image_doubtful, image_push, image_suggestions
from edged.ctl.options import chosen, open_client
from edged.errors import CommandError, ConfigError
from edged.plural import counted
from edged.terminal.options import count
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.table import Table

    from edged.contract.messages import Job

_MAX_LISTED = 500


def register(commands: Commands) -> None:
    """Add the family."""
    family = commands.family("images", __doc__)
    image_push.register(family)
    listed = family.add("list", run_list)
    which = listed.add_mutually_exclusive_group()
    which.add_argument("--label", metavar="L", help="only images with this label")
    which.add_argument("--unlabeled", action="store_true", help="only frames that wait for a label")
    listed.add_argument("--limit", metavar="N", type=count, default=50, help="at most so many (50; up to 500)")
    got = family.add("get", run_get)
    got.add_argument("id", metavar="ID", help="the image's id, or its first digits")
    got.add_argument("-o", "--output", metavar="FILE", help="where to write it (else ID.jpg)")
    label = family.add("label", run_label)
    label.add_argument("given", metavar="ID LABEL", nargs="*", help="an image's id, or its first digits, and its label")
    label.add_argument("--last", metavar="LABEL", help="label the newest frame of the camera")
    label.add_argument("--camera", metavar="C", help="which camera --last is for (else the only one)")
    label.add_argument(
        "--track", metavar="T", help="which of the things before it, where it has regions (else the only one)"
    )
    label.add_argument("--group", metavar="G", help="label all frames of a group, as `images groups` shows them")
    image_suggestions.register(family)
    for name, run in (("unlabel", run_unlabel), ("remove", run_remove)):
        parser = family.add(name, run)
        parser.add_argument("id", metavar="ID", help="the image's id, or its first digits")
    image_doubtful.register(family)


def run_list(args: argparse.Namespace) -> int:
    """What the device has, newest first.

    Examples:
      edgectl images list --unlabeled
      edgectl images list --label roses --limit 20 --json
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.tables import console, print_part, text
    from edged.terminal.text import print_json

    limit = min(args.limit, _MAX_LISTED)
    if args.label is not None:
        args.label = _label(args.label)
    wanted = {"label": args.label, "unlabeled": args.unlabeled or None, "limit": limit}

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        shown, all_ = len(report.get("images") or []), matching(report, args.label, unlabeled=args.unlabeled)
        if args.json:
            print_json({"device": device, **report, "matching": all_})
            return
        screen = console()
        print_part(screen, table(report.get("images") or []))
        if shown < all_:
            more = (
                f"--limit {min(all_, _MAX_LISTED)} shows more" if limit < _MAX_LISTED else "more are not sent at once"
            )
            screen.print(text(f"first {shown} of {all_}; {more}", "yellow"))
        counts = ", ".join(f"{label} {number}" for label, number in (report.get("counts") or {}).items())
        screen.print(text(f"{device}: {counts or 'no labeled image'}; {report.get('unlabeled', 0)} unlabeled", "bold"))
        for fault in report.get("skipped") or []:
            screen.print(text(f"not usable: {fault.get('file')}: {fault.get('reason')}", "yellow"))

    return ask_each(args, "images_list", wanted, show)


def matching(report: dict[str, Any], label: str | None, *, unlabeled: bool) -> int:
    """Return how many images the device has of those that were asked for."""
    counts = report.get("counts") or {}
    if unlabeled:
        return int(report.get("unlabeled") or 0)
    return int(counts.get(label, 0)) if label is not None else sum(counts.values()) + int(report.get("unlabeled") or 0)


def run_get(args: argparse.Namespace) -> int:
    """Fetch an image.

    Examples:
      edgectl images get 1a5cde41 -o rose.jpg
    """
    from edged.ctl.commands.snapshot import write
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import ask
    from edged.terminal.text import print_json, print_line

    image_id = _id(args.id)
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        if len(devices) > 1:
            raise ConfigError("images get: name one device (--device ID)")
        job = ask(client, devices[0], "images_get", {"id": image_id}, keep_image=True)
        if job is None:
            return FAILED
        content = client.image(job.id)
        client.forget(job.id)
        report = job.report or {}
        suffix = report.get("suffix")
        path = Path(args.output or f"{image_id}{suffix if suffix in ('.png', '.bmp', '.webp') else '.jpg'}")
        write(path, content)
        if args.json:
            print_json({"device": devices[0], "file": str(path), **report})
        else:
            print_line(f"{path}  {report.get('label') or 'unlabeled'}")
    return DONE


def run_label(args: argparse.Namespace) -> int:
    """Label a kept frame, a group of them, or what the camera sees now.

    Examples:
      edgectl images label 1a5cde41 roses
      edgectl images label --group 1a5cde41 dandelions
      edgectl images label --last tulips --camera door
      edgectl images label --last postman --camera door --track 17
    """
    from edged.ctl.jobs import answer, ask_each

    of_camera = args.camera is not None or args.track is not None
    if args.group is not None and args.last is None and len(args.given) == 1 and not of_camera:
        wanted: dict[str, Any] = {"group": _id(args.group), "label": _label(args.given[0])}
    elif args.group is None and args.last is not None and not args.given:
        wanted = {"last": True, "label": _label(args.last), "camera": args.camera, "track": args.track}
    elif args.group is None and args.last is None and len(args.given) == 2 and not of_camera:
        wanted = {"id": _id(args.given[0]), "label": _label(args.given[1])}
    else:
        raise ConfigError("images label: give ID LABEL, --group G LABEL, or --last LABEL [--camera C] [--track T]")
    return ask_each(args, "images_label", wanted, answer(args, _labeled))


def run_unlabel(args: argparse.Namespace) -> int:
    """Take an image's label away.

    Examples:
      edgectl images unlabel 1a5cde41
    """
    from edged.ctl.jobs import answer, ask_each

    return ask_each(args, "images_unlabel", {"id": _id(args.id)}, answer(args, _described))


def run_remove(args: argparse.Namespace) -> int:
    """Delete an image.

    Examples:
      edgectl images remove 1a5cde41
    """
    from edged.ctl.jobs import answer, ask_each

    return ask_each(args, "images_remove", {"id": _id(args.id)}, answer(args, partial(_described, verb="removed")))


def table(images: list[dict[str, Any]]) -> Table:
    """Lay images out, one per line, within 80 columns."""
    from edged.terminal.tables import device_table, text
    from edged.terminal.text import UNKNOWN

    laid = device_table()
    laid.add_column("id", no_wrap=True)
    laid.add_column("label", overflow="fold")
    laid.add_column("split", no_wrap=True)
    laid.add_column("pixels", no_wrap=True, justify="right")
    laid.add_column("prediction, reason", overflow="fold")
    for image in images:
        label = image.get("label")
        why = str(image.get("reason") or image.get("by") or UNKNOWN)
        if predicted := image.get("predicted"):
            why = f"{predicted} {image.get('score') or 0:.2f}, {why}"
        laid.add_row(
            text(str(image.get("id", UNKNOWN))),
            text(str(label), "bold") if label else text(UNKNOWN, "dim"),
            text(str(image.get("split", UNKNOWN))),
            text(f"{image.get('width')}×{image.get('height')}"),
            text(why),
        )
    return laid


def _labeled(report: dict[str, Any]) -> str:
    if "group" not in report:
        return _described(report)
    images, skipped = len(report.get("images") or []), int(report.get("skipped") or 0)
    rest = f"; {skipped} gone or labeled already" if skipped else ""
    return f"{report['group']}  {report.get('label')}, {counted(images, 'frame')}{rest}"


def _described(report: dict[str, Any], verb: str = "") -> str:
    return f"{report.get('id')}  {verb or report.get('label') or 'unlabeled'}"


def _id(text: str) -> str:
    if not text or len(text) > 64 or text.strip("0123456789abcdefABCDEF"):
        raise ConfigError(f"image {text!r}: an id is 1 to 64 hex digits, as `edgectl images list` shows them")
    return text.lower()


def _label(text: str) -> str:
    from edged.contract.labels import check_label  # with pydantic, which help has no use for

    try:
        return check_label(text)
    except CommandError as error:  # the device would say the same
        raise ConfigError(str(error)) from error
