"""`edgectl images suggest` and `edgectl images groups`: which kept frames to label next."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.terminal.options import count
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job

_MOST = 200
_SHOWN_MEMBERS = 3


def register(commands: Commands) -> None:
    """Add the commands."""
    suggested = commands.add("suggest", run_suggest)
    suggested.add_argument("-n", metavar="N", dest="number", type=count, default=20, help="so many (20; up to 200)")
    grouped = commands.add("groups", run_groups)
    grouped.add_argument("--limit", metavar="N", type=count, default=20, help="at most so many groups (20; up to 200)")


def run_suggest(args: argparse.Namespace) -> int:
    """The kept frames whose labels would help most.

    First those that are unlike anything taught; then those that stand for most of what the model is in doubt about.
    Near duplicates are left out, and frames of the test side (one in five), as soon as ten labeled images are on it: a
    training would judge by them and not learn from them. Look at a frame with `edgectl images get ID`, label it with
    `edgectl images label`.

    Examples:
      edgectl images suggest
      edgectl images suggest -n 50 --json
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.tables import console, device_table, print_part, text
    from edged.terminal.text import UNKNOWN, print_json

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        if args.json:
            print_json({"device": device, **report})
            return
        screen = console()
        images, waiting = report.get("images") or [], int(report.get("unlabeled") or 0)
        if images:
            table = device_table()
            table.add_column("id", no_wrap=True)
            table.add_column("why", overflow="fold")
            table.add_column("looks like", overflow="fold")
            for image in images:
                table.add_row(
                    text(str(image.get("id", UNKNOWN))), text(_reason(image)), text(_likeness(image) or UNKNOWN)
                )
            print_part(screen, table)
        screen.print(text(f"{device}: {len(images)} of {waiting} frames without a label", "bold"))
        if note := _left(report):
            screen.print(text(note, "yellow"))
        if judging := int(report.get("judging") or 0):
            screen.print(text(f"{judging} are never suggested: labeled, they would judge and teach nothing", "yellow"))
        if images:
            screen.print("label one: edgectl images label ID LABEL")

    return ask_each(args, "images_suggest", {"count": min(args.number, _MOST)}, show)


def run_groups(args: argparse.Namespace) -> int:
    """Kept frames that show something unknown, in groups of the same kind.

    A group is named by its most central frame: look at it with `edgectl images get ID`. `edgectl images label --group
    ID LABEL` labels all of the group; after the next training the stranger has a name.

    Examples:
      edgectl images groups
      edgectl images groups --limit 5 --json
    """
    from edged.ctl.jobs import ask_each
    from edged.terminal.tables import console, device_table, print_part, text
    from edged.terminal.text import UNKNOWN, print_json

    def show(device: str, job: Job) -> None:
        report = job.report or {}
        if args.json:
            print_json({"device": device, **report})
            return
        screen = console()
        groups = report.get("groups") or []
        if groups:
            table = device_table()
            table.add_column("group", no_wrap=True)
            table.add_column("frames", no_wrap=True, justify="right")
            table.add_column("looks like", overflow="fold")
            table.add_column("others in it", overflow="fold")
            for group in groups:
                members = [str(member) for member in group.get("images") or []][1:]
                more = f" and {len(members) - _SHOWN_MEMBERS} more" if len(members) > _SHOWN_MEMBERS else ""
                table.add_row(
                    text(str(group.get("id", UNKNOWN))),
                    text(str(group.get("size", UNKNOWN))),
                    text(_likeness(group) or UNKNOWN),
                    text(" ".join(member[:8] for member in members[:_SHOWN_MEMBERS]) + more),
                )
            print_part(screen, table)
        all_, strangers = int(report.get("all") or 0), int(report.get("strangers") or 0)
        if len(groups) < all_:
            screen.print(text(f"first {len(groups)} of {all_} groups; --limit {min(all_, _MOST)} shows more", "yellow"))
        waiting = int(report.get("unlabeled") or 0)
        screen.print(text(f"{device}: {strangers} of {waiting} frames without a label show something unknown", "bold"))
        if note := _left(report):
            screen.print(text(note, "yellow"))
        if groups:
            screen.print("label a whole group: edgectl images label --group GROUP LABEL")

    return ask_each(args, "images_groups", {"limit": min(args.limit, _MOST)}, show)


def _left(report: dict[str, Any]) -> str:
    """Say how many frames were not looked at; "" where all were, or an older device does not tell."""
    if (considered := report.get("considered")) is None:
        return ""
    left = int(report.get("unlabeled") or 0) - int(considered)
    return f"{left} were not considered: near duplicates, older, or seen by another network" if left > 0 else ""


def _reason(image: dict[str, Any]) -> str:
    """Say why an image was suggested."""
    why, likely = image.get("why"), [str(one.get("label")) for one in image.get("likely") or []]
    if why == "stranger":
        return "unlike anything taught"
    if why == "uncertain" and len(likely) > 1:
        return f"uncertain between {likely[0]} and {likely[1]}"
    return "like many without a label" if why == "typical" else str(why)


def _likeness(image: dict[str, Any]) -> str:
    """Say what the model makes of an image."""
    likely = image.get("likely") or []
    return f"{likely[0].get('label')} {likely[0].get('score') or 0:.2f}" if likely else ""
