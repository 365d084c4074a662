"""The table of `edgectl top`: a line per device, in as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edged.contract.messages import FINAL, UNKNOWN, Seen
from edged.ctl.board import BACKLOG, Entry, hottest
from edged.terminal.tables import text
from edged.terminal.text import UNKNOWN as NOT_KNOWN
from edged.terminal.text import milliseconds

_LONGEST_ID = 20
_GAP = 1
_COLOURS = {"offline": "red", "silent": "red", "degraded": "yellow", "online": "green"}


@dataclass(frozen=True)
class _Column:
    """One column.

    Attributes:
        heading: Above it.
        width: Columns of the terminal that it needs.
        cell: Returns a device's text; `now` is the monotonic clock, seconds.
        right: Whether it holds a number.
        grows: Up to this width, where there is room.
    """

    heading: str
    width: int
    cell: Callable[[Entry, float], Text]
    right: bool = False
    grows: int = 0


def fleet_table(entries: Sequence[Entry], now: float, width: int) -> Table:
    """Lay devices out in their order.

    Args:
        entries: Devices.
        now: Monotonic clock, seconds.
        width: Columns of the terminal.
    """
    columns = _chosen(width, max((len(entry.known.id) for entry in entries), default=0))
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.heading, justify=side, no_wrap=True, width=column.width)
    for entry in entries:
        style = "dim" if entry.state(now) == "offline" else ""
        table.add_row(*(column.cell(entry, now) for column in columns), style=style)
    return table


def fitting(entries: Sequence[Entry], now: float, room: int) -> Sequence[Entry]:
    """Return those that are shown where there is room for so many lines: of the offline ones half of them at most.

    A fleet in which many are switched off shall not hide the one that is too hot.
    """
    if len(entries) <= room:
        return entries
    gone = [entry for entry in entries if entry.state(now) == "offline"]
    there = [entry for entry in entries if entry.state(now) != "offline"]
    kept = max(room - len(there), (room + 1) // 2)
    return [*gone[:kept], *there][:room]


def _chosen(width: int, longest_id: int) -> list[_Column]:
    """Return the columns that fit, in the order of the table; the most important ones are the first to be chosen."""
    device = _Column("device", min(max(longest_id, 6), _LONGEST_ID), lambda entry, _: text(entry.known.id, "bold"))
    by_importance = [device, *(_COLUMNS[name] for name in _IMPORTANCE)]
    fit: list[_Column] = []
    for column in by_importance:
        if sum(one.width + _GAP for one in fit) + column.width <= width or not fit:
            fit.append(column)
    spare = width - sum(one.width + _GAP for one in fit)
    order = [device, *_COLUMNS.values()]
    laid = []
    for column in sorted(fit, key=order.index):
        more = max(0, min(spare, column.grows - column.width))
        spare -= more
        laid.append(_Column(column.heading, column.width + more, column.cell, column.right))
    return laid


def _state(entry: Entry, now: float) -> Text:
    state = entry.state(now)
    return text(state, _COLOURS[state])


def _needs(entry: Entry, now: float) -> Text:
    """Say what needs attention beyond the state."""
    told = entry.known.telemetry
    found = [need for need in entry.needs(now) if need not in _COLOURS]
    lines = [f"outbox {told.outbox:,}" if need == "outbox" and told is not None else need for need in found]
    return text(", ".join(lines), "red" if entry.alerts or "throttled" in found else "yellow")


def _seen(entry: Entry) -> Seen | None:
    seen = entry.known.telemetry.seen if entry.known.telemetry is not None else None
    return next((seen[camera] for camera in sorted(seen)), None) if seen else None


def _sees(entry: Entry, _: float) -> Text:
    if (seen := _seen(entry)) is None or entry.known.telemetry is None:
        return Text(NOT_KNOWN)
    others = len(entry.known.telemetry.seen or ()) - 1
    return text(f"{seen.label} +{others}" if others else seen.label, "yellow" if seen.label == UNKNOWN else "")


def _score(entry: Entry, _: float) -> Text:
    seen = _seen(entry)
    return Text(NOT_KNOWN if seen is None else f"{seen.score:.0%}")


def _known(entry: Entry, _: float) -> Text:
    seen = _seen(entry)
    return Text(NOT_KNOWN if seen is None or seen.familiarity is None else f"{seen.familiarity:.0%}")


def _fps(entry: Entry, _: float) -> Text:
    told = entry.known.telemetry
    return Text(NOT_KNOWN if told is None else f"{told.fps:.1f}" if told.fps < 1000 else f"{told.fps:.0f}")


def _p95(entry: Entry, _: float) -> Text:
    told = entry.known.telemetry
    return Text(NOT_KNOWN if told is None or told.latency_ms is None else milliseconds(told.latency_ms.p95))


def _heat(entry: Entry, _: float) -> Text:
    told = entry.known.telemetry
    degrees = hottest(told.temp_c) if told is not None else None
    style = "red" if told is not None and told.throttled else ""
    return Text(NOT_KNOWN if degrees is None else f"{degrees:.0f}", style=style)


def _power(entry: Entry, _: float) -> Text:
    told = entry.known.telemetry
    power_mw = hottest(told.power_mw) if told is not None else None
    return Text(NOT_KNOWN if power_mw is None else f"{power_mw / 1000:.1f}")


def _outbox(entry: Entry, _: float) -> Text:
    told = entry.known.telemetry
    if told is None:
        return Text(NOT_KNOWN)
    return Text(f"{told.outbox:,}", style="yellow" if told.outbox >= BACKLOG else "")


def _model(entry: Entry, _: float) -> Text:
    model = entry.known.model
    return Text(NOT_KNOWN) if model is None else text(f"{model.name} {model.id[:4]}")


def _job(entry: Entry, _: float) -> Text:
    job = entry.known.job
    if job is None or job.status in FINAL or not entry.online:
        return Text("")
    return text(f"{job.cmd} {job.progress:.0%}", "cyan")


_COLUMNS = {
    "state": _Column("state", 8, _state),
    "needs": _Column("attention", 13, _needs, grows=30),
    "sees": _Column("sees", 12, _sees, grows=30),
    "score": _Column("score", 5, _score, right=True),
    "known": _Column("known", 5, _known, right=True),
    "fps": _Column("fps", 5, _fps, right=True),
    "p95": _Column("p95", 5, _p95, right=True),
    "heat": _Column("°C", 3, _heat, right=True),
    "power": _Column("W", 5, _power, right=True),
    "outbox": _Column("outbox", 6, _outbox, right=True),
    "model": _Column("model", 16, _model, grows=30),
    "job": _Column("job", 14, _job, grows=24),
}
"""In the order of the table, after the device."""
_IMPORTANCE = ("state", "needs", "sees", "fps", "p95", "heat", "score", "known", "model", "job", "outbox", "power")
"""Where there is no room for all, those that are named last are left out."""
