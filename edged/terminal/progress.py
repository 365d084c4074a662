"""How far something is, on standard error: a bar on a terminal, a line per stage and tenth in a pipe or a log.

The one progress bar of both programs. A line is `NAME:  40% what it does now`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from edged.terminal.text import clean

if TYPE_CHECKING:  # rich is imported only where there is a terminal to draw on
    from rich.console import Console
    from rich.progress import ProgressColumn

Unit = Literal["share", "items", "bytes"]

_LINES = 10
"""Lines that the whole of a stage takes where no bar can be drawn."""
_NUMBER = re.compile(r"\d+")
"""“photo 3 of 200” is the same stage as “photo 2 of 200”."""
_BAR_WIDTH = 24
_LONGEST = 200
"""Characters of a text beside the bar."""


class Tell(Protocol):
    """Tells how far it is; cheap enough to be called often."""

    def __call__(self, done: float | None, of: float | None = 1.0, text: str = "", *, stage: str | None = None) -> None:
        """Show it.

        Args:
            done: How much is done, in the unit of the progress; None: nobody knows.
            of: How much it is in all; None: nobody knows.
            text: What it does now. Text from the wire is cleaned, and no markup is read in it.
            stage: Where no bar can be drawn, a line is printed when this changes; None: `text` without its numbers.
        """


@contextmanager
def progress(name: str, *, unit: Unit = "share", quiet: bool = False) -> Iterator[Tell]:
    """Show how far something is until the block ends.

    Args:
        name: Of the whole, at the head of each line.
        unit: What is counted: a share 0..1, items, or bytes.
        quiet: Show nothing: the output is for machines.
    """
    if quiet:
        yield lambda *_, **__: None
    elif (screen := _terminal()) is None:
        yield _Lines(name, unit)
    else:
        with _bar(name, unit, screen) as tell:
            yield tell


def _terminal() -> Console | None:
    if not sys.stderr.isatty():
        return None
    from edged.terminal.tables import terminal

    return terminal(stderr=True)


@contextmanager
def _bar(name: str, unit: Unit, screen: Console) -> Iterator[Tell]:
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(*_columns(unit), console=screen, transient=True) as bar:
        task = bar.add_task(escape(clean(name)), total=None, beside="")  # it pulsates until a total is told
        before = 0.0

        def tell(done: float | None, of: float | None = 1.0, text: str = "", *, stage: str | None = None) -> None:
            nonlocal before
            del stage
            if done is not None and done < before:  # the next stage begins, and a bar that was full is running again
                bar.reset(task)
            before = done or 0.0
            total = None if done is None else of
            bar.update(task, completed=before, total=total, beside=escape(clean(text, _LONGEST)))

        yield tell


class _Lines:
    """Prints a line when the stage changes, and with each tenth."""

    def __init__(self, name: str, unit: Unit) -> None:
        self._name = name
        self._unit = unit
        self._told: tuple[str, int] | None = None

    def __call__(self, done: float | None, of: float | None = 1.0, text: str = "", *, stage: str | None = None) -> None:
        share = done / of if done is not None and of else None
        step = math.floor(share * _LINES + 1e-9) if share is not None and math.isfinite(share) else 0
        now = (_NUMBER.sub("", text) if stage is None else stage, step)
        if now == self._told:
            return
        self._told = now
        per_cent = "" if share is None else f"{share:4.0%} "
        told = ", ".join(part for part in (_amount(done, of, self._unit), text) if part)
        print(clean(f"{self._name}: {per_cent}{told}").rstrip(), file=sys.stderr, flush=True)


def _amount(done: float | None, of: float | None, unit: Unit) -> str:
    """Write how much is done: "120 of 3670", "1.2 of 3.0 MB"; nothing for a share, which its per cent tells."""
    if done is None or unit == "share":
        return ""
    if unit == "items":
        return f"{done:.0f}" + ("" if of is None else f" of {of:.0f}")
    return f"{done / 1e6:.1f}" + ("" if of is None else f" of {of / 1e6:.1f}") + " MB"


def _columns(unit: Unit) -> list[ProgressColumn]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount: dict[Unit, list[ProgressColumn]] = {
        "share": [TaskProgressColumn(), TimeElapsedColumn()],
        "items": [MofNCompleteColumn(), TimeRemainingColumn()],
        "bytes": [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()],
    }
    beside = TextColumn("{task.fields[beside]}", style="dim")
    return [TextColumn("{task.description}"), BarColumn(bar_width=_BAR_WIDTH), *amount[unit], beside]
