"""`edgectl login`: try a broker and keep what is needed to be let in; list, choose and forget what is kept."""

from __future__ import annotations

import argparse
import getpass
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edged.ctl.options import fill, fill_defaults, open_client
from edged.errors import ConfigError
from edged.terminal.program import DONE, USAGE
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.ctl.contexts import Context

_FILES = ("password_file", "ca_file", "cert_file", "key_file", "signing_key")


def register(commands: Commands) -> None:
    """Add `login`."""
    parser = commands.add("login", run)
    parser.set_defaults(without_context=True)  # it is what repairs a damaged one
    what = parser.add_mutually_exclusive_group()
    what.add_argument("name", nargs="?", metavar="CONTEXT", help="of the context (else --context, the host)")
    what.add_argument("--list", action="store_true", help="show all contexts; * is before the one that counts")
    what.add_argument("--names", action="store_true", help="print the names of all contexts, one a line")
    what.add_argument("--use", metavar="CONTEXT", help="let this one count from now on where no other is named")
    what.add_argument("--forget", metavar="CONTEXT", help="delete this one, and the password that was asked for")


def run(args: argparse.Namespace) -> int:
    """Log in to a broker and keep it as a context, so that no command needs to be told again.

    Connects, and keeps broker, login, device, prefix and signing key only if the broker lets you in; then this context
    counts where no other is named. Without --password-file it asks for the password of --username. They are kept in
    edged/contexts in $XDG_CONFIG_HOME or ~/.config, for you alone to read, a password that you typed in a file of its
    own. The same NAME again changes what is given.

    Each value is a flag's, else that of its environment variable, else the context's, else the default. Where a flag or
    $EDGECTL_BROKER names another broker than the context's, nothing of the context is used: no broker gets the password
    of another.

    Examples:
      edgectl login lab --broker mqtts://broker.lab --username me --ca-file ca.crt
      edgectl login line --broker mqtt://10.0.0.5 --device 'line-*'
      edgectl login --list
      edgectl login --use lab
      edgectl --context line login --device line-1
      edgectl login --forget line
    """
    from edged.ctl import contexts

    if args.names:
        print("".join(f"{name}\n" for name in contexts.names()), end="")
        return DONE
    if args.list:
        return _list(args)
    if args.use is not None:
        contexts.use(args.use)
        return _say(args, contexts.find(args.use))
    if args.forget is not None:
        return _forget(args)
    return _log_in(args)


def _log_in(args: argparse.Namespace) -> int:
    from edged.ctl import contexts

    name = contexts.check_name(_name(args))
    _take_over(args, name)
    if args.broker is None:
        raise ConfigError(f"login {name}: name the broker: edgectl login {name} --broker mqtt://HOST")
    for key in _FILES:
        if (path := getattr(args, key)) is not None:
            setattr(args, key, str(Path(path).expanduser().absolute()))
    context = contexts.Context(name=name, **{key: getattr(args, key) for key in contexts.KEYS})
    password = _password(context)
    fill_defaults(args)
    if password is None:
        _try(args)
        contexts.save(context)
        if context.password_file != str(contexts.password_path(name)):
            contexts.drop_password(name)
    else:
        draft = contexts.write_draft(password)
        try:
            args.password_file = str(draft)
            _try(args)
            # Between the two there is no context that would send the new password to the old broker.
            contexts.save(replace(context, password_file=None))
            contexts.keep_draft(draft, name)
            context = replace(context, password_file=str(contexts.password_path(name)))
            contexts.save(context)
        finally:
            draft.unlink(missing_ok=True)
    contexts.use(name)
    return _say(args, context)


def _name(args: argparse.Namespace) -> str:
    """Return the name of the context that is meant.

    Raises:
        ConfigError: Nothing tells it.
    """
    from edged.ctl import contexts

    if (named := args.name or args.context) is not None:
        return str(named)
    if args.broker is None:
        if (now := contexts.current()) is not None:
            return now
        raise ConfigError("login: name the broker: edgectl login [NAME] --broker mqtt://HOST")
    try:
        host = urlsplit(args.broker.split(",")[0]).hostname or ""
    except ValueError:  # brackets without an address
        host = ""
    if not contexts.NAME.fullmatch(host):
        raise ConfigError("login: name the context: edgectl login NAME --broker …")
    return host


def _take_over(args: argparse.Namespace, name: str) -> None:
    """Take over what a context of this name has kept already, unless other values are given, or another broker."""
    from edged.ctl import contexts

    if name not in contexts.names():
        return
    try:
        fill(args, contexts.find(name))
    except ConfigError:
        if args.broker is None:
            raise  # nothing tells what to write in its place


def _password(context: Context) -> str | None:
    """Return the password that edgectl keeps itself; None: there is none, or it is in a file of the user's.

    It is asked for where there is somebody to ask. What can be read only once, such as a pipe, is copied.

    Raises:
        ConfigError: It cannot be read.
    """
    from edged.ctl import contexts

    own = contexts.password_path(context.name)
    if context.username is None:
        return None
    if context.password_file not in (None, str(own)):
        try:
            if stat.S_ISREG(Path(str(context.password_file)).stat().st_mode):
                return None
            return Path(str(context.password_file)).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"--password-file {context.password_file}: {reason}") from error
    if not sys.stdin.isatty():
        return None
    again = ", Enter: as before" if context.password_file is not None else ""
    try:
        return getpass.getpass(f"Password of {context.username!r} at {context.broker}{again}: ") or None
    except EOFError as error:
        raise ConfigError("login: no password was given") from error


def _try(args: argparse.Namespace) -> None:
    """Connect, and look whether it may listen to devices."""
    with open_client(args) as client:
        client.subscribe("+/state" if args.device is None else f"{_level(args)}/state").close()


def _level(args: argparse.Namespace) -> str:
    from edged.ctl.choice import Choice

    return Choice.parse(args.device).level


def _say(args: argparse.Namespace, context: Context) -> int:
    from edged.terminal.text import note, print_json, print_line

    if args.json:
        print_json({"context": context.name, "current": True, **context.values()})
    else:
        who = f" as {context.username}" if context.username is not None else ""
        print_line(f"{context.name}: {context.broker}{who}; it counts from now on where no other is named")
    broker, name = os.environ.get("EDGECTL_BROKER"), os.environ.get("EDGECTL_CONTEXT")
    if broker and broker != context.broker:
        note("edgectl", f"as long as $EDGECTL_BROKER is {broker}, nothing of this context is used")
    elif name and name != context.name:
        note("edgectl", f"as long as $EDGECTL_CONTEXT is {name}, that context counts")
    return DONE


def _forget(args: argparse.Namespace) -> int:
    from edged.ctl import contexts
    from edged.terminal.text import print_json, print_line

    was_current = contexts.forget(args.forget)
    if args.json:
        print_json({"forgotten": args.forget})
    else:
        rest = "; none counts now: edgectl login --use NAME" if was_current and contexts.names() else ""
        print_line(f"{args.forget}: forgotten{rest}")
    return DONE


def _list(args: argparse.Namespace) -> int:
    """Show all contexts; one that is damaged is named on stderr, and the exit code is 2 then."""
    from edged.ctl import contexts
    from edged.terminal.text import note, print_json, print_line

    found, code = [], DONE
    counts = contexts.current() if args.context is None else args.context
    for name in contexts.names():
        try:
            found.append(contexts.find(name))
        except ConfigError as error:
            note("edgectl", str(error))
            code = USAGE
    if args.json:
        for one in found:
            print_json({"context": one.name, "current": one.name == counts, **one.values()})
    elif found:
        _print_table(found, counts)
    elif code == DONE:
        print_line(f"no context is kept in {contexts.folder()}: edgectl login [NAME] --broker mqtt://HOST")
    return code


def _print_table(found: list[Context], counts: str | None) -> None:
    from edged.terminal.tables import console, plain_table, print_part, text

    headings = ("", "context", "broker", "user", "device", "prefix")
    table = plain_table(*headings, left=headings)
    for one in found:
        mark = "*" if one.name == counts else ""
        cells = (mark, one.name, one.broker, one.username or "", one.device or "", one.prefix or "")
        table.add_row(*map(text, cells))
    print_part(console(plain_width=160), table)
