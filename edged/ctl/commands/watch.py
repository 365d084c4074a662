"""`edgectl watch`: what every camera sees, as it is classified."""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edged.ctl.options import add_limits
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.console import Console
    from rich.table import Table

    from edged.contract.messages import Result
    from edged.ctl.subscription import Incoming

_RATE_WINDOW_S = 5.0
_STALE_S = 10.0
_WIDE = 100
"""Columns from which on a table has longer bars and a column for the familiarity."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("watch", run)
    add_limits(parser, "results")


def run(args: argparse.Namespace) -> int:
    """Live results of every camera.

    A live table on a terminal, one line per result in a pipe, the result itself with --json. Ctrl-C ends. Beside the
    score stands how familiar the frame is, where the model knows (in a table from 100 columns on): below the device's
    `model.unknown` the label is `unknown`, and what it looks most like follows.

    Examples:
      edgectl watch
      edgectl --device tx2-01 watch --seconds 30
      edgectl watch --json --count 100
    """
    from edged.ctl.live import show

    return show(args, ResultView())


@dataclass(slots=True)
class _Row:
    result: Result
    at: float
    arrivals: deque[float] = field(default_factory=deque)

    def per_second(self, now: float) -> float | None:
        """Return results per second over the last window; None before the second one."""
        while self.arrivals and now - self.arrivals[0] > _RATE_WINDOW_S:
            self.arrivals.popleft()
        if len(self.arrivals) < 2:
            return None
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0] or _RATE_WINDOW_S)


class ResultView:
    """The newest result of each camera, or of each thing before it."""

    noun = "results"
    topic = "result/+"

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], _Row] = {}

    def take(self, message: Incoming) -> str | None:
        """Keep a result and return it as a line."""
        from edged.contract.messages import Result
        from edged.terminal.text import milliseconds

        result = message.decode(Result)
        if result is None:
            return None
        camera = message.levels[1]
        key = (message.device, camera, result.track or "")
        row = self._rows.setdefault(key, _Row(result, message.at))
        row.result, row.at = result, message.at
        row.arrivals.append(message.at)
        if len(row.arrivals) > 10_000:
            row.arrivals.popleft()
        total = milliseconds(result.latency_ms.total)
        where = f"{message.device}/{camera}"
        if result.track is not None:
            where += f"/{result.track}"
        if result.ended:
            del self._rows[key]
            return f"{result.ts}  {where}  ended: {_told(result)}"
        return f"{result.ts}  {where}  {result.score:.2f}  {_told(result)}  {total} ms{_place(result)}"

    def table(self, now: float, screen: Console) -> Table:
        """Lay the rows out by device and camera."""
        from edged.contract.messages import UNKNOWN
        from edged.terminal.tables import device_table, text
        from edged.terminal.text import UNKNOWN as NOT_YET
        from edged.terminal.text import bar, duration, milliseconds

        laid = device_table(expand=True)
        laid.add_column("device", no_wrap=True, max_width=20)
        laid.add_column("camera", no_wrap=True, max_width=10)
        laid.add_column("label", no_wrap=True, ratio=1)
        laid.add_column("score", no_wrap=True)
        wide = screen.width >= _WIDE
        if wide:
            laid.add_column("familiar", justify="right", no_wrap=True)
        laid.add_column("per s", justify="right", no_wrap=True)
        laid.add_column("ms", justify="right", no_wrap=True)
        laid.add_column("age", justify="right", no_wrap=True)
        plain = screen.options.ascii_only
        width = 10 if wide else 6
        for (device, camera, track), row in sorted(self._rows.items()):
            rate = row.per_second(now)
            score = row.result.score
            colour = "green" if score >= 0.5 else "yellow"
            shown = _label(row.result) if wide else _told(row.result, known=False)
            laid.add_row(
                text(device),
                text(f"{camera}/{track}" if track else camera),
                text(shown, "yellow" if row.result.label == UNKNOWN else "bold"),
                text(f"{bar(score, width, ascii_only=plain)} {score:4.2f}", colour),
                *([_familiarity(row.result) or NOT_YET] if wide else ()),
                NOT_YET if rate is None else f"{rate:.1f}",
                milliseconds(row.result.latency_ms.total),
                duration(now - row.at),
                style="dim" if now - row.at > _STALE_S else "",
            )
        return laid


def _place(result: Result) -> str:
    """Return where in the frame it is, in percent of it; nothing where the whole frame was classified."""
    if result.box is None:
        return ""
    x, y, width, height = (round(100 * part) for part in result.box)
    return f"  at {x},{y} {width}×{height} %"


def _told(result: Result, *, known: bool = True) -> str:
    """Return the label, of an unknown thing also what it looks most like, and how familiar it is where that is known.

    Args:
        result: What was published.
        known: Whether the familiarity is told where there is a label, too, and not only of what is unknown.
    """
    from edged.contract.messages import UNKNOWN

    label, familiarity = _label(result), _familiarity(result)
    if familiarity is None or not (known or result.label == UNKNOWN):
        return label
    return f"{label}, familiarity {familiarity}"


def _label(result: Result) -> str:
    """Return the label; of an unknown thing also what it looks most like."""
    from edged.contract.messages import UNKNOWN

    if result.label != UNKNOWN or not result.top:
        return result.label
    return f"{UNKNOWN}, most like {result.top[0].label}"


def _familiarity(result: Result) -> str | None:
    return None if result.familiarity is None else f"{result.familiarity:.1%}"
