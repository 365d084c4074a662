"""`edged check`: is the configuration right? Prints what is in effect; opens no camera and no connection."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edged.cli import detectors
from edged.cli.options import add_config
from edged.errors import ConfigError, EdgedError, ModelError
from edged.terminal.program import DONE, exit_code
from edged.terminal.registry import Commands
from edged.terminal.text import clean, print_json

if TYPE_CHECKING:
    from edged.cli.state import Device
    from edged.settings import Settings

_SOURCES = {
    "pattern": "test pattern",
    r"\d+|/dev/.+": "V4L2 device",
    r"csi://\d+": "CSI camera",
    r"rtsps?://[^/\s]\S*": "RTSP stream",
    r"gst:\s*\S.*": "GStreamer pipeline",
}
"""What a source that is no file looks like."""
_NOT_THERE = " is not there now)"


class Finding(NamedTuple):
    """Something that is said of the configuration.

    Attributes:
        level: "info": what is in effect; "note": worth knowing; "warning": it will not do what was meant; "error":
            edged does not start with it.
        key: What it is about, a configuration key.
        message: One line.
        label: What the line is about where people read it.
    """

    level: Literal["info", "note", "warning", "error"]
    key: str
    message: str
    label: str


def register(commands: Commands) -> None:
    """Add `check`."""
    parser = commands.add("check", run)
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object: ok, and what was found")


def run(args: argparse.Namespace) -> int:
    """Check the configuration.

    Loads it, prints what is in effect, and checks the model and the files that it names. --json prints one object
    instead: ok, configuration (the file), and findings, each with level (info, note, warning, error), key and message;
    ok is false where one is an error, and then the checks after it are made all the same.

    Examples:
      edged check --config /etc/edged/edged.toml
      edged check --json
    """
    if args.json:
        return _run_json(args.config)
    device = _device(args.config)
    print(effective(device.settings))
    print(f"# configuration: {device.config or 'none, these are the defaults'}")
    for _, check in _checks(device):
        for finding in check():
            print(f"# {finding.label}: {finding.message}" if finding.label else f"# {finding.message}")
    return DONE


def _run_json(config: Path | None) -> int:
    found: list[Finding] = []
    code, file = DONE, config

    def add_error(key: str, error: EdgedError) -> None:
        nonlocal code
        code = code or exit_code(error)
        found.append(Finding("error", _key_of(error) or key, clean(str(error)), ""))
        if isinstance(error, ConfigError):
            found.extend(Finding("error", other, clean(line), "") for other, line in error.others)

    try:
        device = _device(config)
    except EdgedError as error:
        add_error("", error)
    else:
        file = device.config
        for key, check in _checks(device):
            try:
                found += check()
            except EdgedError as error:
                add_error(key, error)
    findings = [{"level": one.level, "key": one.key, "message": one.message} for one in found]
    print_json({"ok": code == DONE, "configuration": None if file is None else str(file), "findings": findings})
    return code


def _device(config: Path | None) -> Device:
    from edged.cli.state import become, find_device

    device = find_device(config)
    if device.account is not None and os.geteuid() == 0:
        become(device.account, device.unit)  # what it may read, not what root may
    return device


def _key_of(error: EdgedError) -> str:
    """Return the key that an error is about; empty: it tells none."""
    if isinstance(error, ConfigError) and error.key:
        return error.key
    begin = re.match(r"([a-z]+\.[\w.-]+)(?= = |:)", str(error))
    return begin[1] if begin else ""


def _checks(device: Device) -> list[tuple[str, Callable[[], Iterable[Finding]]]]:
    """Return (key, check), in the order in which they are told; a check raises EdgedError where edged cannot start."""
    settings = device.settings
    return [
        *(
            (f"cameras.{name}.source", partial(_check_camera, name, camera.source))
            for name, camera in settings.cameras.items()
        ),
        ("telemetry.drift_s", lambda: _check_drift(settings)),
        ("device.id", lambda: _check_dots(settings)),
        ("mqtt.url", lambda: [Finding("info", "mqtt.url", _check_broker(settings), "broker")]),
        ("security.trusted_keys", lambda: _check_commands(settings)),
        ("metrics.listen", lambda: [Finding("info", "metrics.listen", where_metrics_are(settings), "metrics")]),
        ("storage.state_dir", lambda: _check_state(settings.storage.state_dir)),
        ("model.name", lambda: _check_models(device)),
        *((f"cameras.{name}.regions", partial(_check_detector, device, name)) for name in detectors.wanted(settings)),
    ]


def _check_camera(name: str, source: str) -> Iterator[Finding]:
    key = f"cameras.{name}.source"
    kind = check_source(key, source)
    yield Finding("warning" if kind.endswith(_NOT_THERE) else "info", key, kind, f"camera {name}")


def _check_drift(settings: Settings) -> Iterator[Finding]:
    for line in settings.unwatched():
        yield Finding("warning", "telemetry.drift_s", line, "")


def _check_dots(settings: Settings) -> Iterator[Finding]:
    """Name what RabbitMQ would take for two levels of a topic: which broker it is, is not known here."""
    parts = {"device.id": settings.device.id, "mqtt.prefix": settings.mqtt.prefix}
    parts |= {f"cameras.{name}": name for name in settings.cameras}
    for key, part in parts.items():
        if "." in part:
            line = f"{part!r} has a dot, which RabbitMQ takes for a slash; other brokers do not mind"
            yield Finding("note", key, line, key)


def _check_commands(settings: Settings) -> Iterator[Finding]:
    level: Literal["info", "note"] = "info" if settings.security.trusted_keys else "note"
    yield Finding(level, "security.trusted_keys", whose_commands(settings), "commands")


def _closed(device: Device) -> bool:
    """Whether the state is a service's, and not for this user to read."""
    state_dir = device.settings.storage.state_dir
    return device.unit is not None and os.path.lexists(state_dir) and not os.access(state_dir, os.R_OK | os.X_OK)


def _check_detector(device: Device, camera: str) -> Iterator[Finding]:
    key, label = f"cameras.{camera}.regions", f"camera {camera}, regions"
    if _closed(device):
        yield Finding("note", key, f"not checked, this user may not read {device.settings.storage.state_dir}", label)
        return
    try:
        yield Finding("info", key, detectors.check(camera, device.settings), label)
    except ModelError as error:
        yield Finding("warning", key, str(error), label)


def _check_models(device: Device) -> Iterator[Finding]:
    if _closed(device):
        state_dir = device.settings.storage.state_dir
        yield Finding("note", "model.name", f"not checked, this user may not read {state_dir}", "model")
        return
    yield Finding("info", "model.name", _check_model(device.settings), "model")
    if blind := calls_nothing_unknown(device.settings):
        yield Finding("warning", "model.unknown", blind, "unknown")


def calls_nothing_unknown(configuration: Settings) -> str | None:
    """Say why no frame will be called unknown, where that is wanted; None: some may be.

    Raises:
        ConfigError: The selection is not fitted, or a network of it is gone.
        ModelError: A model or what was fitted is damaged.
    """
    from edged.selection.files import witnesses
    from edged.store import Store

    if not configuration.model.unknown:
        return None
    store = Store(configuration.storage.state_dir)
    asked = witnesses(configuration, store, store.current(configuration.model.name))
    blind = [bundle.name for bundle in asked if bundle.read_familiarity() is None]
    if not blind:
        return None
    return (
        f"{', '.join(blind)} does not know what it was taught, and calls nothing unknown; `edgectl retrain` teaches it"
    )


def whose_commands(configuration: Settings) -> str:
    """Say whose commands are carried out.

    Raises:
        ConfigError: Only signed ones, and the library that verifies them is not installed.
    """
    from edged.contract.signature import PublicKey
    from edged.mqtt.trust import Trust

    Trust(configuration.security.trusted_keys)
    keys = [PublicKey.parse(line) for line in configuration.security.trusted_keys]
    if not keys:
        return "of everybody whom the broker lets publish them; security.trusted_keys is empty"
    return f"only signed ones, by {', '.join(key.comment or key.text for key in keys)}"


def where_metrics_are(configuration: Settings) -> str:
    """Say where Prometheus may read.

    Raises:
        ConfigError: It may, and the library that writes the metrics is not installed.
    """
    from edged.metrics import check_library, url

    if (address := configuration.metrics.address) is None:
        return "none; metrics.listen is empty"
    check_library()
    return url(*address)


def effective(configuration: Settings) -> str:
    """Return every setting as TOML, passwords in camera addresses hidden, paths absolute."""
    from edged.camera import public_source

    lines: list[str] = []
    for section, values in configuration.model_dump(mode="json").items():
        tables = values.items() if section == "cameras" else [(None, values)]
        for name, table in tables:
            heading = section if name is None else f"{section}.{_key(name)}"
            lines += ["", f"[{heading}]"] if lines else [f"[{heading}]"]
            for key, value in table.items():
                shown = public_source(value) if key == "source" else value
                lines.append(f"# {key} is not set" if value is None else f"{key} = {_toml(shown)}")
    return "\n".join(lines)


def _toml(value: object) -> str:
    """Return a value as TOML: as JSON, but for a table."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{ " + ", ".join(f"{_key(name)} = {_toml(each)}" for name, each in value.items()) + " }"


def check_source(key: str, source: str) -> str:
    """Say what a camera's source is, by its text alone.

    Args:
        key: The configuration key, for the error.
        source: See `edged.camera.KINDS_OF_SOURCE`.

    Raises:
        ConfigError: No kind of source looks like this.
    """
    from edged.camera import KINDS_OF_SOURCE, public_source

    source = source.strip()
    scheme, separator, rest = source.partition("://")
    for pattern, kind in _SOURCES.items():
        if re.fullmatch(pattern, source, re.DOTALL):
            return kind
    if scheme in ("file", "dir") and rest:
        path = Path(rest).expanduser()
        return ("clip" if scheme == "file" else "folder") + ("" if path.exists() else f" ({path}{_NOT_THERE}")
    if source and not separator and Path(source).expanduser().exists():
        return "folder" if Path(source).expanduser().is_dir() else "clip"
    raise ConfigError(f"{key} = {public_source(source)!r}: no such kind of source; use {KINDS_OF_SOURCE}")


def _key(name: str) -> str:
    """A TOML key; camera names may contain dots."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _check_broker(configuration: Settings) -> str:
    from edged.mqtt.broker import brokers

    return ", ".join(f"{broker.name}{', TLS' if broker.tls else ''}" for broker in brokers(configuration.mqtt))


def _check_state(folder: Path) -> Iterator[Finding]:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        raise ConfigError(f"storage.state_dir = {str(folder)!r}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        line = f"{folder} (this user may not write there; the daemon's must)"
        yield Finding("warning", "storage.state_dir", line, "state")
    else:
        line = f"{folder}{'' if folder.exists() else ' (will be made)'}"
        yield Finding("info", "storage.state_dir", line, "state")


def _check_model(configuration: Settings) -> str:
    from edged.store import Store
    from edged.zoo.install import verify

    try:
        bundle = Store(configuration.storage.state_dir).current(configuration.model.name)
        examined = verify(bundle, configuration.model.engine)
    except ModelError as error:
        raise ConfigError(f"model.name = {configuration.model.name!r}: {error}") from error
    return f"{bundle.name} ({bundle.id}), {examined.classes} classes, on {examined.runtime}: {bundle.path}"
