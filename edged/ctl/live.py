"""Messages as they come: a live table on a terminal, plain lines in a pipe, JSON lines for machines."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from edged.ctl.choice import EVERY, Choice
from edged.ctl.client import Client
from edged.ctl.errors import NoAnswerError
from edged.ctl.fleet import where
from edged.ctl.options import chosen, open_client
from edged.ctl.subscription import Incoming
from edged.terminal.program import DONE
from edged.terminal.tables import terminal, text
from edged.terminal.text import note, print_json, print_line

_TICK_S = 0.25
_HINT_S = 5.0


class View(Protocol):
    """How one kind of message is shown."""

    noun: str
    """What is awaited, plural: "results"."""
    topic: str
    """Filter below the device: "result/+"."""

    def take(self, message: Incoming) -> str | None:
        """Keep a message and return it as a line; None where it is not what its topic promises."""

    def table(self, now: float, screen: Console) -> Table:
        """Return everything that was kept; `now` is the monotonic clock, seconds."""


def show(args: argparse.Namespace, view: View) -> int:
    """Show messages until the limits of `options.add_limits` or Ctrl-C.

    Raises:
        NoAnswerError: `--seconds` are over and nothing came, or less than `--count`.
    """
    choice = chosen(args) or EVERY
    came = 0
    try:
        with open_client(args) as client:
            for _ in _shown(client, choice, view, args):
                came += 1
                if came == args.count:
                    return DONE
    except KeyboardInterrupt:  # wherever it strikes, also while the connection is opened or closed
        return DONE
    if came == 0 or args.count is not None:
        whose = "any device" if choice.every else choice.text
        raise NoAnswerError(
            f"{came or 'no'} {view.noun} from {whose} at {where(client)} within {args.seconds:g} s"
            + (f", {args.count} were asked for" if args.count else "")
        )
    return DONE


def _shown(client: Client, choice: Choice, view: View, args: argparse.Namespace) -> Iterator[None]:
    """Yield once for every message shown."""
    start = time.monotonic()
    end = start + args.seconds if args.seconds is not None else float("inf")
    hint_at, lost = start + _HINT_S, False
    with client.subscribe(f"{choice.level}/{view.topic}") as subscription, _terminal(args) as live:
        drawn = 0.0
        while (now := time.monotonic()) < end:
            message = subscription.get(min(_TICK_S, end - now))
            if message is not None and not choice.takes(message.device):
                message = None
            line = view.take(message) if message is not None else None
            now = time.monotonic()
            if live is not None and now - drawn >= _TICK_S:
                live.update(_picture(client, view, now, now - start, live.console), refresh=True)
                drawn = now
            if client.connected == lost:
                lost = not lost
                if live is None:
                    note("edgectl", f"connection to {client.url} {'lost, trying again' if lost else 'is back'}")
            if message is not None and line is not None:
                hint_at = float("inf")
                if args.json:
                    print_json({"device": message.device, **message.raw()})
                elif live is None:
                    print_line(line)
                yield
            elif live is None and now >= hint_at:
                hint_at = float("inf")
                note("edgectl", f"waiting for {view.noun} at {where(client)}")


def _picture(client: Client, view: View, now: float, waited_s: float, screen: Console) -> RenderableType:
    table = view.table(now, screen)
    if not client.connected:
        return Group(table, text(f"connection to {client.url} lost, trying again", "yellow"))
    if table.row_count == 0:
        return text(f"waiting for {view.noun} at {where(client)} … {waited_s:.0f} s (Ctrl-C ends)", "dim")
    return table


@contextmanager
def _terminal(args: argparse.Namespace) -> Iterator[Live | None]:
    """Open the live display where a person looks at it; None in a pipe and for `--json`."""
    screen = None if args.json else terminal()
    if screen is None:
        yield None
        return
    with Live(console=screen, auto_refresh=False, transient=False) as live:
        yield live
