"""What people and machines read: text from the wire made harmless, numbers made short, JSON lines."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNKNOWN = "–"
_ANY_WIDTH = 1000
"""Columns that hold any table."""


def clean(text: str, limit: int = 1000) -> str:
    """Make text from the wire harmless and one line long.

    Control and format characters (terminal escapes, line breaks, reversed writing) become spaces or vanish.
    """
    spaced = "".join(" " if char in "\r\n\t" else char for char in text[:limit])
    return "".join(char for char in spaced if not unicodedata.category(char).startswith("C"))


def text(value: str, style: str = "") -> Text:
    """Return `value` from the wire as rich text: no markup is read in it."""
    return Text(clean(value), style=style)


def console(*, stderr: bool = False) -> Console:
    """Return a console for people; follows the terminal's width and NO_COLOR."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def print_part(screen: Console, part: RenderableType) -> None:
    """Print a table or text; a table that would have to break words becomes a line per cell, rows apart."""
    needed = screen.options.update(width=_ANY_WIDTH, max_width=_ANY_WIDTH)
    if not isinstance(part, Table) or Measurement.get(screen, needed, part).minimum <= screen.width:
        screen.print(part)
        return
    if part.title:
        screen.print(part.title)
    for row in zip(*(column.cells for column in part.columns), strict=True):
        for column, cell in zip(part.columns, row, strict=True):
            value = cell if isinstance(cell, Text) else Text(str(cell))
            if value.plain:
                value = Text(", ").join(value.split("\n", allow_blank=False))
                screen.print(Text(f"{column.header}: " if column.header else "", "dim").append_text(value))
        screen.print()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as one line, at once (a pipe's reader is waiting)."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_line(line: str) -> None:
    """Print one line for people who read a pipe or a log."""
    sys.stdout.write(clean(line) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Tell something beside the output: one line on stderr."""
    print(f"edgectl: {clean(line)}", file=sys.stderr, flush=True)


def bar(fraction: float, width: int = 10, *, ascii_only: bool = False) -> str:
    """Draw a fraction 0..1; what is not a number is drawn empty."""
    full = round(width * min(max(fraction, 0.0), 1.0)) if math.isfinite(fraction) else 0
    done, left = ("#", "-") if ascii_only else ("█", "░")
    return done * full + left * (width - full)


def duration(seconds: float) -> str:
    """Write a span for a glance: 0.4 s, 12 s, 5 min, 3 h, 2 d."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def watts(milliwatts: float) -> str:
    """Write a power: 4120 → 4.12 W, 340 → 340 mW."""
    return f"{milliwatts / 1000:.2f} W" if abs(milliwatts) >= 1000 else f"{milliwatts:.0f} mW"


def milliseconds(value: float) -> str:
    """Write a latency's number: two digits that matter, no more."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(fraction: float) -> str:
    """Write a fraction: 0.713 → 71.3 %."""
    return f"{100 * fraction:.1f} %"
