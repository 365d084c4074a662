"""The rows of the fleet's page, and what has changed in them since a page has last asked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from edged.contract.messages import FINAL
from edged.ctl.board import Board, Entry, hottest


class Feed:
    """Rows by device, each with the number of the change that it came with.

    Args:
        board: What is known of the fleet.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rows: dict[str, tuple[int, dict[str, Any]]] = {}
        self._gone: dict[str, int] = {}
        self._version = 0

    def refresh(self, now: float, devices: Iterable[str] | None = None) -> None:
        """Compute rows anew.

        Args:
            now: Monotonic clock, seconds.
            devices: Those that have said something; None: all, for a device that falls silent says nothing.
        """
        self._version += 1
        known = {entry.known.id: entry for entry in self._board.entries(now)} if devices is None else None
        for device in known if known is not None else list(devices or ()):
            entry = known[device] if known is not None else self._board.entry(device)
            if entry is None:
                self._drop(device)
                continue
            fresh = row(entry, now)
            before = self._rows.get(device)
            if before is None or before[1] != fresh:
                self._rows[device] = (self._version, fresh)
                self._gone.pop(device, None)
        if known is not None:
            for device in [one for one in self._rows if one not in known]:
                self._drop(device)

    def _drop(self, device: str) -> None:
        if self._rows.pop(device, None) is not None:
            self._gone[device] = self._version

    def since(self, version: int, now: float) -> dict[str, Any]:
        """Return what has changed after `version` (0: everything), and the totals."""
        return {
            "version": self._version,
            "rows": [fresh for at, fresh in self._rows.values() if at > version],
            "gone": [device for device, at in self._gone.items() if at > version],
            "totals": asdict(self._board.totals(now)),
        }


def row(entry: Entry, now: float) -> dict[str, Any]:
    """Return what the fleet's page shows of a device; what is not known is absent."""
    known = entry.known
    told = known.telemetry
    shown: dict[str, Any] = {"id": known.id, "state": entry.state(now), "needs": entry.needs(now)}
    if entry.alerts:
        shown["alerts"] = {name: alert.reason for name, alert in sorted(entry.alerts.items())}
    if known.model is not None:
        shown["model"] = {"id": known.model.id, "name": known.model.name}
    job = known.job
    if job is not None and entry.online and job.status not in FINAL:
        shown["job"] = {"cmd": job.cmd, "stage": job.stage, "progress": round(job.progress, 2)}
    if told is None:
        return shown
    if told.seen:
        camera = min(told.seen)
        seen = told.seen[camera]
        shown |= {"camera": camera, "label": seen.label, "more": len(told.seen) - 1}
        shown |= _numbers(score=(seen.score, 3), familiarity=(seen.familiarity, 3))
    latency_ms = told.latency_ms.p95 if told.latency_ms is not None else None
    shown |= _numbers(
        fps=(told.fps, 1), p95=(latency_ms, 1), temp=(hottest(told.temp_c), 0), power=(hottest(told.power_mw), 0)
    )
    if told.throttled:
        shown["throttled"] = True
    return shown


def _numbers(**values: tuple[float | None, int]) -> dict[str, float]:
    """Return rounded numbers, without those that are not known, or are none: what changes too little is not told."""
    return {
        name: round(value, digits)
        for name, (value, digits) in values.items()
        if value is not None and math.isfinite(value)
    }
