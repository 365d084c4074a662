"""`edged check`: is the configuration right? Prints what is in effect; opens no camera and no connection."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli.options import add_config
from edged.errors import ConfigError, ModelError
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.settings import Settings

_SOURCES = {
    "pattern": "test pattern",
    r"\d+|/dev/.+": "V4L2 device",
    r"csi://\d+": "CSI camera",
    r"rtsps?://[^/\s]\S*": "RTSP stream",
    r"gst:\s*\S.*": "GStreamer pipeline",
}
"""What a source that is no file looks like."""


def register(commands: Commands) -> None:
    """Add `check`."""
    parser = commands.add("check", run)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Check the configuration.

    Loads it, prints what is in effect, and checks the model and the files that it names.

    Examples:
      edged check --config /etc/edged/edged.toml
    """
    from edged.cli.state import become, find_device

    device = find_device(args.config)
    if device.account is not None and os.geteuid() == 0:
        become(device.account, device.unit)  # what it may read, not what root may
    configuration = device.settings
    print(effective(configuration))
    print(f"# configuration: {device.config or 'none, these are the defaults'}")
    for name, camera in configuration.cameras.items():
        print(f"# camera {name}: {check_source(f'cameras.{name}.source', camera.source)}")
    for line in configuration.unwatched():
        print(f"# {line}")
    print(f"# broker: {_check_broker(configuration)}")
    print(f"# commands: {whose_commands(configuration)}")
    print(f"# state: {_check_state(configuration.storage.state_dir)}")
    state_dir = configuration.storage.state_dir
    if device.unit is not None and os.path.lexists(state_dir) and not os.access(state_dir, os.R_OK | os.X_OK):
        print(f"# model: not checked, this user may not read {state_dir}")
    else:
        print(f"# model: {_check_model(configuration)}")
        if blind := calls_nothing_unknown(configuration):
            print(f"# unknown: {blind}")
    return 0


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
                lines.append(f"# {key} is not set" if value is None else f"{key} = {json.dumps(shown)}")
    return "\n".join(lines)


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
        return ("clip" if scheme == "file" else "folder") + ("" if path.exists() else f" ({path} is not there now)")
    if source and not separator and Path(source).expanduser().exists():
        return "folder" if Path(source).expanduser().is_dir() else "clip"
    raise ConfigError(f"{key} = {public_source(source)!r}: no such kind of source; use {KINDS_OF_SOURCE}")


def _key(name: str) -> str:
    """A TOML key; camera names may contain dots."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _check_broker(configuration: Settings) -> str:
    from edged.mqtt.broker import brokers

    return ", ".join(f"{broker.name}{', TLS' if broker.tls else ''}" for broker in brokers(configuration.mqtt))


def _check_state(folder: Path) -> str:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        raise ConfigError(f"storage.state_dir = {str(folder)!r}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{folder} (this user may not write there; the daemon's must)"
    return f"{folder}{'' if folder.exists() else ' (will be made)'}"


def _check_model(configuration: Settings) -> str:
    from edged.store import Store
    from edged.zoo.install import verify

    try:
        bundle = Store(configuration.storage.state_dir).current(configuration.model.name)
        examined = verify(bundle, configuration.model.runtime)
    except ModelError as error:
        raise ConfigError(f"model.name = {configuration.model.name!r}: {error}") from error
    return f"{bundle.name} ({bundle.id}), {examined.classes} classes, on {examined.runtime}: {bundle.path}"
