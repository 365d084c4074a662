"""`edgectl status`: a table of devices, each with its model, cameras, speed and heat."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from rich.table import Table
    from rich.text import Text

    from edged.ctl.fleet import Device


def register(commands: Commands) -> None:
    """Add the command."""
    commands.add("status", run)


def run(args: argparse.Namespace) -> int:
    """Devices with their model, cameras, speed and heat.

    Offline devices are shown with what they last said. With --json: one line per device.

    Examples:
      edgectl status
      edgectl --broker mqtt://10.0.0.5 --device tx2-01 status --json
    """
    from edged.ctl.errors import NoAnswerError
    from edged.ctl.fleet import look, seen, where
    from edged.terminal.tables import console, print_part
    from edged.terminal.text import print_json

    with open_client(args) as client:
        fleet = look(client, chosen(args), live=True)
        if not fleet.devices and not fleet.choice.every:
            others = seen(look(client, None))
            raise NoAnswerError(f"no device {args.device!r} at {where(client)}; {others}")
        if not fleet.devices:
            raise NoAnswerError(f"no device at {where(client)}")
    devices = [fleet.devices[name] for name in fleet.ids()]
    if args.json:
        for device in devices:
            print_json(as_json(device))
    else:
        screen = console()
        print_part(screen, table(devices))
        for line in complaints(devices):
            screen.print()
            screen.print(line)
    return DONE


def as_json(device: Device) -> dict[str, Any]:
    """Return a device's messages in one object; labels are counted, and a job's report is left to its own topic."""
    from edged.ctl.commands.jobs import as_json as job_as_json

    line: dict[str, Any] = {"device": device.id, "state": device.state, "answered": device.answered}
    for kind in ("info", "model", "telemetry", "job"):
        message = getattr(device, kind)
        line[kind] = message.model_dump(exclude_none=True, mode="json") if message is not None else None
    if device.job is not None:
        line["job"] = job_as_json(device.job, online=device.online)
    if device.model is not None:
        line["model"]["labels"] = len(device.model.labels)
    return line


def table(devices: list[Device]) -> Table:
    """Lay devices out, a few lines each, so that 80 columns are enough."""
    from edged.terminal.tables import device_table

    laid = device_table()
    for heading in ("device", "model", "cameras", "speed", "heat, power"):
        laid.add_column(heading, overflow="fold", no_wrap=heading in ("speed", "heat, power"))
    for index, device in enumerate(devices):
        last = index == len(devices) - 1
        style = "" if device.online else "dim"
        laid.add_row(_name(device), _model(device), _cameras(device), _speed(device), _heat(device), style=style)
        if not last:
            laid.add_row()
    return laid


def complaints(devices: list[Device]) -> list[Text]:
    """Return what devices complain of, a line each: too long for a table's cell."""
    from edged.terminal.tables import text

    lines = []
    for device in devices:
        if not device.online or device.info is None:
            continue
        cameras = sorted(device.info.cameras.items())
        lines += [
            f"{device.id}, camera {name} {camera.state}: {camera.error}" for name, camera in cameras if camera.error
        ]
        others = [line for line in device.info.degraded or () if not line.startswith("camera ")]
        lines += [f"{device.id}, {line}" for line in others]
        if device.info.sensors_error is not None:
            lines.append(f"{device.id}, sensors: {device.info.sensors_error}")
    return [text(line, "yellow") for line in lines]


def _lines(parts: list[Text]) -> Text:
    from rich.text import Text

    return Text("\n").join(parts)


def _name(device: Device) -> Text:
    from edged.terminal.tables import text

    state, style = device.state or "state unknown", "green" if device.online else "red"
    if device.online and not device.answered:
        state, style = "online, silent", "yellow"
    elif device.online and device.info is not None and device.info.state == "degraded":
        state, style = "degraded", "yellow"
    lines = [text(device.id, "bold"), text(state, style)]
    if device.online and device.job is not None and device.job.status in ("queued", "running"):
        lines.append(text(f"{device.job.cmd} {device.job.progress:.0%}", "cyan"))
    return _lines(lines)


def _model(device: Device) -> Text:
    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN, percent

    lines = [text(UNKNOWN)]
    if (model := device.model) is not None:
        known = f"accuracy {percent(model.accuracy)}" if model.accuracy is not None else f"{len(model.labels)} classes"
        lines = [text(model.name), text(known), text(model.id, "dim")]
    if device.info is not None:
        lines.append(text(" ".join([device.info.runtime, *(device.info.providers or [])]), "dim"))
    return _lines(lines)


def _cameras(device: Device) -> Text:
    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN

    if device.info is None or not device.info.cameras:
        return text(UNKNOWN)
    # What an offline device said of its cameras is history.
    colours = {"running": "green", "degraded": "yellow", "ended": "dim", "starting": ""} if device.online else {}
    cameras = sorted(device.info.cameras.items())
    return _lines([text(f"{name} {camera.state}", colours.get(camera.state, "")) for name, camera in cameras])


def _speed(device: Device) -> Text:
    from edged.ctl.board import BACKLOG
    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN, milliseconds

    told = device.telemetry
    if told is None:
        return text(UNKNOWN)
    lines = [text(f"{told.fps:.1f} fps")]
    if told.latency_ms is not None:
        lines += [
            text(f"p50 {milliseconds(told.latency_ms.p50)} ms"),
            text(f"p95 {milliseconds(told.latency_ms.p95)} ms"),
        ]
    lines.append(text(f"outbox {told.outbox}", "yellow" if told.outbox > BACKLOG else "dim"))
    return _lines(lines)


def _heat(device: Device) -> Text:
    from edged.terminal.tables import text
    from edged.terminal.text import UNKNOWN, watts

    told = device.telemetry
    lines = []
    if told is not None:
        if told.temp_c:
            zone, degrees = max(told.temp_c.items(), key=lambda item: item[1])
            lines.append(text(f"{degrees:.1f} °C {zone}"))
        if told.power_mw:
            # The input rail feeds the others, so the largest is the whole board's.
            rail, power = max(told.power_mw.items(), key=lambda item: item[1])
            lines.append(text(f"{watts(power)} {rail}"))
        if told.throttled:
            lines.append(text("throttled", "red"))
    if device.info is not None:
        lines.append(text(device.info.sensors, "dim"))
        if device.info.performance is not None and device.info.performance.nvpmodel is not None:
            lines.append(text(device.info.performance.nvpmodel, "dim"))
        if device.info.performance is not None and device.info.performance.jetson_clocks:
            lines.append(text("clocks locked", "dim"))
    return _lines(lines or [text(UNKNOWN)])
