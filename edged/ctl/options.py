"""Options that every command takes, before or after its name, and what they mean together."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import ConfigError
from edged.terminal.options import count, positive

if TYPE_CHECKING:  # `edgectl --help` pays for neither paho nor pydantic
    from edged.ctl.choice import Choice
    from edged.ctl.client import Client
    from edged.ctl.contexts import Context

DEFAULT_BROKER, DEFAULT_PREFIX = "mqtt://localhost:1883", "edged"
_LONGEST_TIMEOUT_S = 86400.0
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
        top: Whether this is edgectl's own parser. It holds what the environment says; a command's parser leaves alone
            what was given before its name, and does not repeat the help of the login options.
    """

    def default(variable: str) -> Any:
        return (os.environ.get(variable) or None) if top else argparse.SUPPRESS

    def login_help(text: str) -> str:
        return text if top else argparse.SUPPRESS

    order = "What is not given is the environment's, else the context's, else the default." if top else None
    group = parser.add_argument_group("which device, through which broker", order)
    group.add_argument(
        "--context",
        metavar="CONTEXT",
        default=default("EDGECTL_CONTEXT"),
        help="what `edgectl login` has kept under this name (else $EDGECTL_CONTEXT, else that of the last login)",
    )
    group.add_argument(
        "--broker",
        metavar="URL",
        default=default("EDGECTL_BROKER"),
        help="mqtt://HOST[:PORT], mqtts:// for TLS, ws:// or wss:// for WebSockets; several of one cluster with commas "
        f"between (else $EDGECTL_BROKER, the context's, {DEFAULT_BROKER})",
    )
    group.add_argument(
        "--device",
        metavar="ID|all",
        default=default("EDGECTL_DEVICE"),
        help="one device, several with commas between, a pattern ('line-*'), @GROUP of ~/.config/edged/groups.toml, or "
        "all (else $EDGECTL_DEVICE, the context's, all to look at, the only one online to act on)",
    )
    group.add_argument(
        "--prefix",
        default=default("EDGECTL_PREFIX"),
        help=f"first level of the topics (else $EDGECTL_PREFIX, the context's, {DEFAULT_PREFIX})",
    )
    group.add_argument(
        "--timeout",
        metavar="S",
        type=_patience,
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
        help="largest message that the broker takes, where it does not say so (else $EDGECTL_MAX_BYTES, the context's, "
        "any)",
    )
    group.add_argument(
        "--signing-key",
        metavar="FILE",
        default=None if top else argparse.SUPPRESS,
        help="private key that signs commands (else $EDGECTL_SIGNING_KEY, the context's, ~/.config/edged/key where it "
        "is there)"
        if top
        else argparse.SUPPRESS,
    )
    login = parser.add_argument_group("login and TLS, where the broker asks for them") if top else group
    for name, metavar, text in (
        ("username", "U", "user name"),
        ("password-file", "FILE", "file whose first line is the password"),
        ("ca-file", "FILE", "certificate authority of a mqtts:// broker (else the system's)"),
        ("cert-file", "FILE", "client certificate"),
        ("key-file", "FILE", "key of the client certificate"),
    ):
        variable = "EDGECTL_" + name.upper().replace("-", "_")
        login.add_argument(
            f"--{name}",
            metavar=metavar,
            default=default(variable),
            help=login_help(f"{text} (else ${variable}, the context's)"),
        )


def _patience(text: str) -> float:
    """Parse seconds that sockets and locks can be told to wait: beyond some hundred years they raise an error."""
    try:
        value = positive(text)
    except argparse.ArgumentTypeError:
        value = math.inf
    if value > _LONGEST_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, at most {_LONGEST_TIMEOUT_S:g}")
    return value


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


def settle(args: argparse.Namespace) -> None:
    """Fill in what neither flags nor environment say: from the context, and last the defaults.

    A command that has `without_context` set among its defaults is left alone.

    Raises:
        ConfigError: The context is damaged, or there is none of the name that was given.
    """
    if getattr(args, "without_context", False):
        return
    from edged.ctl import contexts

    name = contexts.current() if args.context is None else args.context
    if name is not None:
        context = contexts.find(name)
        if not fill(args, context) and args.context is not None:
            from edged.terminal.text import note

            note("edgectl", f"nothing of context {name} is used: it is for {context.broker}, not for {args.broker}")
    fill_defaults(args)


def fill(args: argparse.Namespace, context: Context) -> bool:
    """Fill in from a context what neither flags nor environment say.

    Returns:
        False: nothing was, because they name another broker. No broker gets the password that is for another one.
    """
    if args.broker is not None and args.broker != context.broker:
        return False
    values = context.values()
    if args.username not in (None, context.username):
        values.pop("password_file", None)
    if args.cert_file is not None:
        values.pop("key_file", None)
    if os.environ.get("EDGECTL_SIGNING_KEY"):
        values.pop("signing_key", None)
    args.filled = [key for key in values if getattr(args, key) is None]
    for key in args.filled:
        setattr(args, key, values[key])
    args.context = context.name
    return True


def fill_defaults(args: argparse.Namespace) -> None:
    """Fill in the defaults of what is always needed."""
    args.broker = DEFAULT_BROKER if args.broker is None else args.broker
    args.prefix = DEFAULT_PREFIX if args.prefix is None else args.prefix


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
        key = str(first["loc"][0])
        line = f"{_FLAGS[key]} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        raise ConfigError(f"{line}{_origin(args, key)}") from error
    chosen(args)
    try:
        return Client(brokers(settings), timeout_s=args.timeout, signer=find_signer(args.signing_key))
    except ConfigError as error:  # it names the keys of `[mqtt]`
        line, key, *_ = (str(error), *(key for key in _FLAGS if str(error).startswith(f"mqtt.{key}")), "")
        for name, flag in _FLAGS.items():
            line = line.replace(f"mqtt.{name}", flag)
        raise ConfigError(f"{line}{_origin(args, key)}") from error


def _origin(args: argparse.Namespace, key: str) -> str:
    """Say where a value is from that the user has not given."""
    filled = getattr(args, "filled", ())
    return f" (of context {args.context})" if ("broker" if key == "url" else key) in filled else ""
