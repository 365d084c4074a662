"""`edgectl top`: the whole fleet in one table, what needs attention first."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edged.ctl.options import chosen, open_client
from edged.terminal.options import positive
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.console import Console, RenderableType

    from edged.ctl.board import Board
    from edged.ctl.client import Client
    from edged.ctl.subscription import Subscription

_Pressed = Callable[[], str]
"""Returns the keys that were pressed since it was last called."""
_DRAW_S = 1.0
_TICK_S = 0.1


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("top", run)
    parser.add_argument("--once", action="store_true", help="print one table and end; so it does in a pipe")
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=positive,
        help="end after so many seconds; with --once or --json: wait so long for the telemetry of all (7)",
    )


def run(args: argparse.Namespace) -> int:
    """The whole fleet in one table, what needs attention first.

    It only listens: to what devices say of themselves every few seconds, not to results. Those that are offline or
    silent stand first, then those with alerts, throttled ones, and those whose outbox is long or grows. `sees` is the
    label of the newest frame, `known` its familiarity, `p95` in milliseconds. Columns that the terminal has no room for
    are left out. q or Ctrl-C ends. With --json: one line per device, once.

    Examples:
      edgectl top
      edgectl --device 'line-*' top
      edgectl top --once | head
      edgectl top --json
    """
    from edged.ctl.board import TOPICS, Board
    from edged.ctl.choice import EVERY
    from edged.terminal.tables import terminal

    choice = chosen(args) or EVERY
    screen = None if args.json or args.once else terminal()
    board = Board(choice)
    try:
        with (
            open_client(args) as client,
            client.subscribe(*(f"{choice.level}/{topic}" for topic in TOPICS)) as heard,
        ):
            if screen is not None:
                _watch(client, heard, board, screen, args.seconds)
            else:
                _once(client, heard, board, args)
    except KeyboardInterrupt:  # wherever it strikes, also while the connection is opened or closed
        pass
    return DONE


def _once(client: Client, heard: Subscription, board: Board, args: argparse.Namespace) -> None:
    """Gather until each device online has sent telemetry, a few seconds at most, and print.

    Raises:
        NoAnswerError: There is no device.
    """
    from edged.ctl.errors import NoAnswerError
    from edged.ctl.fleet import QUIET_S, where
    from edged.ctl.fleet_table import fleet_table
    from edged.terminal.tables import console
    from edged.terminal.text import print_json, print_line

    end = time.monotonic() + (args.seconds or 7.0)
    for message in heard.drain(quiet_s=QUIET_S, limit_s=client.timeout_s):
        board.take(message)
    while not board.complete and (later := heard.get(end - time.monotonic())) is not None:
        board.take(later)
    now = time.monotonic()
    if not len(board):
        raise NoAnswerError(f"no device {args.device or ''} at {where(client)}".replace("  ", " "))
    entries = list(board.entries(now))
    if args.json:
        for entry in entries:
            print_json(entry.as_json(now))
        return
    screen = console(plain_width=160)
    screen.print(fleet_table(entries, now, screen.width))
    print_line(board.totals(now).line())


def _watch(client: Client, heard: Subscription, board: Board, screen: Console, seconds: float | None) -> None:
    """Draw the table again and again until q, Ctrl-C or the end of `seconds`."""
    from rich.live import Live

    end = time.monotonic() + seconds if seconds is not None else float("inf")
    draw_at = time.monotonic() + _TICK_S  # what the broker has kept comes at once
    with _keys() as pressed, Live(console=screen, screen=True, auto_refresh=False) as live:
        while (now := time.monotonic()) < end and "q" not in pressed().lower():
            look_at = min(now + _TICK_S, draw_at)
            while (message := heard.get(look_at - time.monotonic())) is not None:
                board.take(message)
                if time.monotonic() > look_at:  # a busy fleet keeps nobody from ending it
                    break
            if (now := time.monotonic()) >= draw_at:
                draw_at = now + _DRAW_S
                live.update(_picture(client, board, now, screen), refresh=True)


def _picture(client: Client, board: Board, now: float, screen: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from edged.ctl.fleet import where
    from edged.ctl.fleet_table import fitting, fleet_table
    from edged.terminal.tables import text

    if not client.connected:
        foot = text(f"connection to {client.url} lost, trying again", "yellow")
    elif not len(board):
        foot = text(f"waiting for devices at {where(client)}", "dim")
    else:
        foot = text(board.totals(now).line(), "bold")
    entries = list(board.entries(now))
    room = screen.height - 4  # the headings, their line, the totals, and how many are not shown
    shown = fitting(entries, now, max(1, room))
    left = len(entries) - len(shown)
    more = text(f"{left:,} more; --device chooses, a higher terminal shows more" if left else "", "dim")
    more.no_wrap = foot.no_wrap = True
    more.overflow = foot.overflow = "ellipsis"
    return Group(fleet_table(shown, now, screen.width), more, foot, Text(end=""))


@contextmanager
def _keys() -> Iterator[_Pressed]:
    """Read keys as they are pressed, without Enter and without showing them; none where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def pressed() -> str:
        ready: Sequence[int] = select.select([descriptor], [], [], 0)[0]
        return os.read(descriptor, 100).decode(errors="replace") if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
