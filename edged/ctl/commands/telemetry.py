"""`edgectl telemetry`: power rails, temperatures, load and speed, as devices report them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edged.ctl.options import add_limits
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.console import Console
    from rich.table import Table

    from edged.contract.messages import Telemetry
    from edged.ctl.subscription import Incoming

_STALE_S = 60.0


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("telemetry", run)
    add_limits(parser, "messages")


def run(args: argparse.Namespace) -> int:
    """Live power, temperature, load, clocks and latency.

    A live table on a terminal, one line per message in a pipe, the message itself with --json. A value that the device
    cannot read is absent. Ctrl-C ends.

    Examples:
      edgectl telemetry
      edgectl --device tx2-01 telemetry --json --count 1
    """
    from edged.ctl.live import show

    return show(args, TelemetryView())


class TelemetryView:
    """The newest telemetry of each device."""

    noun = "telemetry messages"
    topic = "telemetry"

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Telemetry, float]] = {}

    def take(self, message: Incoming) -> str | None:
        """Keep a message and return it as a line."""
        from edged.contract.messages import Telemetry

        told = message.decode(Telemetry)
        if told is None:
            return None
        self._rows[message.device] = told, message.at
        parts = [part for lines in (_speed(told), _power(told), _heat(told), _load(told)) for part in lines]
        return f"{told.ts}  {message.device}  {', '.join(parts)}"

    def table(self, now: float, screen: Console) -> Table:
        """Lay the rows out by device, a line per rail, zone and load."""
        from rich.text import Text

        from edged.terminal.tables import device_table, text
        from edged.terminal.text import UNKNOWN, duration

        del screen
        laid = device_table()
        laid.add_column("device", overflow="fold", max_width=20)
        for heading in ("speed", "power", "heat", "load, clock"):
            laid.add_column(heading, overflow="fold", no_wrap=heading == "speed")
        laid.add_column("age", justify="right", no_wrap=True)
        for device, (told, at) in sorted(self._rows.items()):
            if laid.row_count:
                laid.add_row()
            cells = [
                Text("\n").join(text(part) for part in lines) if lines else Text(UNKNOWN)
                for lines in (_speed(told), _power(told), _heat(told), _load(told))
            ]
            stale = "dim" if now - at > _STALE_S else ""
            laid.add_row(text(device, "bold"), *cells, duration(now - at), style=stale)
        return laid


def _speed(told: Telemetry) -> list[str]:
    from edged.terminal.text import milliseconds

    lines = [f"{told.fps:.1f} fps"]
    if (latency := told.latency_ms) is not None:
        lines += [
            f"{name} {milliseconds(value)} ms"
            for name, value in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99), ("max", latency.max))
        ]
    lines.append(f"dropped {told.dropped}")
    lines.append(f"outbox {told.outbox}")
    lines += [f"drift {camera} {drift.statistic:.2f}" for camera, drift in sorted((told.drift or {}).items())]
    return lines


def _power(told: Telemetry) -> list[str]:
    from edged.terminal.text import watts

    rails = sorted((told.power_mw or {}).items(), key=lambda item: -item[1])
    return [f"{rail} {watts(value)}" for rail, value in rails]


def _heat(told: Telemetry) -> list[str]:
    zones = sorted((told.temp_c or {}).items(), key=lambda item: -item[1])
    lines = [f"{zone} {value:.1f} °C" for zone, value in zones]
    if told.throttled:
        lines.append("throttled")
    return lines


def _load(told: Telemetry) -> list[str]:
    load = [f"{name} {value:.0%}" for name, value in (told.load or {}).items()]
    return load + [f"{name} {value} MHz" for name, value in (told.clock_mhz or {}).items()]
