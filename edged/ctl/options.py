"""Options that every command takes, before or after its name, and what they mean together."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import ConfigError
from edged.terminal.options import count, positive

if TYPE_CHECKING:  # `edgectl --help` pays for neither paho nor pydantic
    from edged.ctl.choice import Choice
    from edged.ctl.client import Client

_FLAGS = {
    "url": "--broker",
    "prefix": "--prefix",
    "username": "--username",
    "password_file": "--password-file",
    "ca_file": "--ca-file",
    "cert_file": "--cert-file",
    "key_file": "--key-file",
    "max_bytes": "--max-bytes",
}


def add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Add the common options.

    Args:
        parser: Where to.
        top: Whether this is edgectl's own parser. It holds the defaults; a command's parser leaves alone what was
            given before its name, and does not repeat the help of the login options.
    """

    def default(variable: str, otherwise: Any = None) -> Any:
        return (os.environ.get(variable) or otherwise) if top else argparse.SUPPRESS

    def login_help(text: str) -> str:
        return text if top else argparse.SUPPRESS

    group = parser.add_argument_group("which device, through which broker")
    group.add_argument(
        "--broker",
        metavar="URL",
        default=default("EDGECTL_BROKER", "mqtt://localhost:1883"),
        help="mqtt://HOST[:PORT], mqtts:// for TLS, ws:// or wss:// for WebSockets; several of one cluster with commas "
        "between (else $EDGECTL_BROKER, else mqtt://localhost:1883)",
    )
    group.add_argument(
        "--device",
        metavar="ID|all",
        default=default("EDGECTL_DEVICE"),
        help="one device, several with commas between, a pattern ('line-*'), @GROUP of ~/.config/edged/groups.toml, or "
        "all (else $EDGECTL_DEVICE, else all to look at, the only one online to act on)",
    )
    group.add_argument(
        "--prefix",
        default=default("EDGECTL_PREFIX", "edged"),
        help="first level of the topics (else $EDGECTL_PREFIX, else edged)",
    )
    group.add_argument(
        "--timeout",
        metavar="S",
        type=positive,
        default=10.0 if top else argparse.SUPPRESS,
        help="seconds to wait for the broker and for a device's answer (10)",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=False if top else argparse.SUPPRESS,
        help="machine-readable lines on stdout",
    )
    group.add_argument(
        "--max-bytes",
        metavar="N",
        type=count,
        default=default("EDGECTL_MAX_BYTES"),
        help="largest message that the broker takes, where it does not say so (else $EDGECTL_MAX_BYTES, else any)",
    )
    group.add_argument(
        "--signing-key",
        metavar="F",
        default=None if top else argparse.SUPPRESS,
        help="private key that signs commands (else $EDGECTL_SIGNING_KEY, else ~/.config/edged/key where it is there)"
        if top
        else argparse.SUPPRESS,
    )
    login = parser.add_argument_group("login and TLS, where the broker asks for them") if top else group
    for name, metavar, text in (
        ("username", "U", "user name"),
        ("password-file", "F", "file whose first line is the password"),
        ("ca-file", "F", "certificate authority of a mqtts:// broker (else the system's)"),
        ("cert-file", "F", "client certificate"),
        ("key-file", "F", "key of the client certificate"),
    ):
        variable = "EDGECTL_" + name.upper().replace("-", "_")
        login.add_argument(
            f"--{name}", metavar=metavar, default=default(variable), help=login_help(f"{text} (else ${variable})")
        )


def add_limits(parser: argparse.ArgumentParser, noun: str) -> None:
    """Add `--seconds` and `--count`."""
    parser.add_argument("--seconds", metavar="N", type=positive, help="end after so many seconds")
    parser.add_argument("--count", metavar="N", type=count, help=f"end after so many {noun}")


def chosen(args: argparse.Namespace) -> Choice | None:
    """Return which devices `--device` names; None: it was not given.

    Raises:
        ConfigError: It names none.
    """
    from edged.ctl.choice import Choice

    return None if args.device is None else Choice.parse(args.device)


def open_client(args: argparse.Namespace) -> Client:
    """Make the client that the options describe; it connects when it is entered.

    Raises:
        ConfigError: An option's value is not allowed.
    """
    from pydantic import ValidationError

    from edged.ctl.client import Client
    from edged.ctl.signer import find_signer
    from edged.mqtt.broker import brokers
    from edged.settings import MqttSettings

    values = {"url": args.broker, "prefix": args.prefix, "username": args.username, "max_bytes": args.max_bytes}
    for key in ("password_file", "ca_file", "cert_file", "key_file"):
        path = getattr(args, key)
        values[key] = Path(path).expanduser() if path else None
    try:
        settings = MqttSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = _FLAGS[str(first["loc"][0])]
        raise ConfigError(f"{flag} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from error
    chosen(args)
    try:
        return Client(brokers(settings), timeout_s=args.timeout, signer=find_signer(args.signing_key))
    except ConfigError as error:  # it names the keys of `[mqtt]`
        line = str(error)
        for key, flag in _FLAGS.items():
            line = line.replace(f"mqtt.{key}", flag)
        raise ConfigError(line) from error
