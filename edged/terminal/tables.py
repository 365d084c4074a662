"""What is printed with rich, for people: consoles, text from the wire that rich reads no markup in, tables."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edged.terminal.text import clean

_ANY_WIDTH = 1000
"""Columns that hold any table."""


def text(value: str, style: str = "") -> Text:
    """Return `value` from the wire as rich text: no markup is read in it."""
    return Text(clean(value), style=style)


def console(*, stderr: bool = False, plain_width: int | None = None) -> Console:
    """Return a console for people; follows the terminal's width and NO_COLOR.

    Args:
        stderr: Print on standard error.
        plain_width: Columns where the output is no terminal, so that nothing is cut or folded there; None: as rich
            chooses (80, or $COLUMNS).
    """
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if is_terminal else plain_width)


def terminal(*, stderr: bool = False) -> Console | None:
    """Return a console on which something may move, such as a bar; None where it could not: a pipe, a log."""
    if not (sys.stderr if stderr else sys.stdout).isatty():
        return None
    screen = console(stderr=stderr)
    return screen if screen.is_terminal and not screen.is_dumb_terminal else None


def plain_table(*headings: str, left: Collection[str], title: str | None = None, folded: Collection[str] = ()) -> Table:
    """Return a table without lines, for many numbers.

    Args:
        headings: Of the columns.
        left: Headings of columns that are aligned left; those of numbers are aligned right.
        title: Above the table.
        folded: Headings of columns whose cells may take several lines.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        side: Literal["left", "right"] = "left" if heading in left else "right"
        table.add_column(heading, justify=side, no_wrap=heading not in folded)
    return table


def device_table(*, expand: bool = False) -> Table:
    """Return a table without columns yet, with a line below its headings, that fits into 80 columns."""
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, expand=expand)


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
