"""`edgectl images push`: a folder per label goes to the device."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.ctl.client import Client
    from edged.ctl.photos import Gathered
    from edged.ctl.push import Outcome

_SHOWN_FAULTS = 20


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("push", run)
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder")
    parser.add_argument("--label", metavar="L", help="label of all photos that lie in DIR itself")


def run(args: argparse.Namespace) -> int:
    """Send a folder of photos per label.

    DIR holds a folder per label; with --label, the photos of that label. JPEG, PNG, BMP and WebP files up to 8 MiB are
    sent as they are. What the device has is not sent again: after an interruption the same command goes on where it
    ended.

    Examples:
      edgectl images push flowers/
      edgectl images push new-roses/ --label roses --json
    """
    from edged.ctl.fleet import addressed
    from edged.ctl.photos import gather

    gathered = gather(args.folder, args.label)
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        for device in devices:
            worst = max(worst, _push(client, device, gathered, as_json=args.json))
    return worst


def _push(client: Client, device: str, gathered: Gathered, *, as_json: bool) -> int:
    from edged.ctl.push import Push
    from edged.terminal.progress import progress

    begin = time.monotonic()
    with progress(f"{device} images push", unit="items", quiet=as_json) as tell:

        def told(outcome: Outcome) -> None:
            tell(outcome.done, len(gathered.photos), f"{outcome.bytes / 1e6:.1f} MB")

        outcome = Push(client, device, told).run(gathered.photos)
    _tell(device, gathered, outcome, time.monotonic() - begin, as_json=as_json)
    return FAILED if outcome.rejected else DONE


def _tell(device: str, gathered: Gathered, outcome: Outcome, seconds: float, *, as_json: bool) -> None:
    from edged.terminal.text import note, print_json, print_line

    rejected = [(str(photo.path), reason) for photo, reason in outcome.rejected]
    skipped = [(str(path), reason) for path, reason in gathered.skipped]
    if as_json:
        line: dict[str, Any] = {
            "device": device,
            "photos": len(gathered.photos),
            "pushed": outcome.pushed,
            "relabeled": outcome.relabeled,
            "present": outcome.present,
            "rejected": [{"file": file, "reason": reason} for file, reason in rejected],
            "skipped": [{"file": file, "reason": reason} for file, reason in skipped],
            "bytes": outcome.bytes,
            "resent": outcome.resent,
            "seconds": round(seconds, 2),
        }
        print_json(line)
        return
    for verb, faults in (("skipped", skipped), ("rejected", rejected)):
        for file, reason in faults[:_SHOWN_FAULTS]:
            note("edgectl", f"{verb} {file}: {reason}")
        if len(faults) > _SHOWN_FAULTS:
            note("edgectl", f"{verb} {len(faults) - _SHOWN_FAULTS} more; --json names them all")
    parts = [f"{outcome.pushed} pushed ({outcome.bytes / 1e6:.1f} MB in {seconds:.1f} s)"]
    counted = (("already there", outcome.present), ("relabeled", outcome.relabeled))
    parts += [f"{number} {what}" for what, number in counted if number]
    parts += [f"{len(faults)} {what}" for what, faults in (("rejected", rejected), ("skipped", skipped)) if faults]
    print_line(f"{device}: {', '.join(parts)}")
