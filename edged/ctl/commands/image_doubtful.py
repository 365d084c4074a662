"""`edgectl images doubtful`: labels that look wrong, and a person's answers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from edged.ctl.options import chosen, open_client
from edged.terminal.options import count
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.table import Table

    from edged.contract.messages import Job
    from edged.contract.reports import DoubtfulImage, DoubtfulLabels
    from edged.ctl.client import Client

_MOST = 500
_ID_SHOWN = 8
LIMIT = (
    "only labels that other images contradict are found: many alike images with the same wrong label vouch for each "
    "other, and look right"
)
"""What nobody shall take a short list for."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("doubtful", run)
    parser.add_argument(
        "-n", dest="limit", metavar="N", type=count, help="so many, also less doubtful ones (else what is likely wrong)"
    )


def run(args: argparse.Namespace) -> int:
    """Labels that look wrong, and your answer to each.

    The device judges every labeled image by all others, without a training, and names those whose label is more likely
    wrong than right; photos of one thing under two labels come first. In a terminal it asks for each: Enter keeps the
    label (and is not asked again), r takes the one that the image looks like, d removes the image, a label's name or
    number gives that one (=NAME a new one), v fetches the image to look at, u takes the last answer back, q stops.
    Where a label is itself called r, d, v, u or q, that letter gives the label, and /d and so on are the answers. In a
    pipe, or with --json, it only lists.

    Examples:
      edgectl images doubtful
      edgectl images doubtful -n 30 | less
      edgectl images doubtful --json | jq -r '.images[].id'
    """
    from edged.ctl.errors import RejectedError
    from edged.ctl.fleet import addressed
    from edged.terminal.text import note

    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        for device in devices:
            try:
                worst = max(worst, _review(client, device, args))
            except RejectedError as error:  # the other devices are still asked
                older = f"{device} does not know images_doubtful: its edged is older than this edgectl"
                note("edgectl", older if "unknown command" in str(error) else str(error))
                worst = FAILED
    return worst


def _review(client: Client, device: str, args: argparse.Namespace) -> int:
    from edged.contract.reports import DoubtfulLabels
    from edged.ctl.commands.retrain import read_report
    from edged.ctl.jobs import finish, follow
    from edged.terminal.tables import console, print_part, text
    from edged.terminal.text import print_json, print_line

    limit = None if args.limit is None else min(args.limit, _MOST)
    ack = client.command(device, "images_doubtful", {"limit": limit})
    job = _last(client, ack.id) if args.json else follow(client, ack.id, device=device, cmd="images doubtful")
    client.forget(ack.id)
    if (code := finish(job, device)) != DONE:
        return code
    if args.json:
        print_json({"device": device, **(job.report or {})})
        return DONE
    report = read_report(DoubtfulLabels, job.report or {})
    if report is None:
        return FAILED
    screen = console()
    if report.images:
        print_part(screen, table(report.images))
    screen.print(text(f"{device}: {summary(report)}", "bold"))
    if report.judged:
        screen.print(text(LIMIT, "dim"))
    for label, reason in report.left_out.items():
        screen.print(text(f"not judged: {label}: {reason}", "yellow"))
    if report.images and sys.stdin.isatty() and sys.stdout.isatty():
        from edged.ctl.relabeling import Relabeling

        print_line(Relabeling(client, device, report.images).run())
    return DONE


def _last(client: Client, job_id: str) -> Job:
    *_, job = client.jobs(job_id)
    return job


def summary(report: DoubtfulLabels) -> str:
    """Tell in a line how many labels look wrong, of how many."""
    from edged.plural import counted

    number, shown = report.number or 0, len(report.images)
    parts = [f"{counted(number, 'label')} of {report.judged or 0} {'looks' if number == 1 else 'look'} wrong"]
    if report.share is not None:
        parts[0] += f" (about {report.share:.1%} are)"
    if shown < number:
        parts.append(f"these are {shown}")
    if shown > number:
        parts.append(f"the other {shown - number} of the list are more likely right")
    if report.right:
        parts.append(f"{report.right} that you have looked at are not asked again")
    if report.unreadable:
        parts.append(f"{counted(report.unreadable, 'image')} could not be read")
    return "; ".join(parts)


def table(images: tuple[DoubtfulImage, ...]) -> Table:
    """Lay doubtful images out, one per line, within 80 columns."""
    from edged.ctl.relabeling import file_of
    from edged.terminal.tables import device_table, text
    from edged.terminal.text import UNKNOWN

    laid = device_table()
    files = any(file_of(image) for image in images)
    for heading in ("id", *(["file"] if files else []), "label", "looks like"):
        laid.add_column(heading, overflow="fold", no_wrap=heading == "id")
    laid.add_column("sure", justify="right", no_wrap=True)
    near = any(image.near for image in images)
    if near:
        laid.add_column("shows the same as", overflow="fold")
    for image in images:
        cells = [text((image.id or UNKNOWN)[:_ID_SHOWN])]
        cells += [text(file_of(image))] if files else []
        cells += [text(image.label or UNKNOWN), text(image.looks_like or UNKNOWN, "bold")]
        cells.append(text(UNKNOWN if image.confidence is None else f"{image.confidence:.0%}"))
        if near:
            cells.append(text(", ".join(f"{(one.id or UNKNOWN)[:_ID_SHOWN]} {one.label}" for one in image.near)))
        laid.add_row(*cells)
    return laid
