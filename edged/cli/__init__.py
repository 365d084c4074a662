"""The `edged` command, on the device: each subcommand is a module with `register(subparsers)` and `run(args)`.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. What subcommands do is in the rooms below; tables and
progress are in `edged.terminal`. Commands over MQTT, from a workstation, are `edged.ctl`.
"""

from __future__ import annotations

import errno
import sys

TYPE_CHECKING = False  # importing typing takes longer than all the rest of this file, and Ctrl-C may come meanwhile
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from edged.cli.interrupts import Interrupts

_COMMANDS = (
    "run",
    "classify",
    "models",
    "retrain",
    "rollback",
    "sources",
    "finetune",
    "profile",
    "premodel",
    "check",
    "doctor",
    "demo",
)
"""Modules of this package, in the order of `edged --help`."""
_AT_ONCE = ("run", "classify", "check")
"""Those with nothing to clear up, or, like the daemon, with a handler of their own for SIGINT once there is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the subcommand, turn errors into one line on stderr."""
    try:
        from edged.cli.interrupts import Interrupts

        with Interrupts() as interrupts:
            return _main(argv, interrupts)
    except KeyboardInterrupt:
        return 130


def _main(argv: Sequence[str] | None, interrupts: Interrupts) -> int:
    from edged.errors import ConfigError, EdgedError
    from edged.process import discard_output, open_standard_streams

    open_standard_streams()
    try:
        args = _parser().parse_args(argv)
        if args.command not in _AT_ONCE:
            interrupts.raise_from_now_on()
        code = int(args.run(args))
        sys.stdout.flush()  # what cannot be written shows itself here and not when the interpreter ends
        return code
    except EdgedError as error:
        print(f"edged: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # the reader of a pipe has gone (`| head`): that is its right
        discard_output()
        return 0
    except OSError as error:  # a full disk behind stdout, too many open files
        discard_output()
        where = error.filename or ("output" if error.errno in (errno.ENOSPC, errno.EIO) else None)
        print(f"edged: {f'{where}: ' if where else ''}{error.strerror or error}", file=sys.stderr)
        return 1


def _parser() -> Any:
    import argparse
    import importlib

    from edged import __version__
    from edged.cli.examples import attach
    from edged.terminal.registry import Parser

    parser = argparse.ArgumentParser(
        prog="edged", description="Classify camera frames on this machine; see the README."
    )
    parser.add_argument("--version", action="version", version=f"edged {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name in _COMMANDS:
        importlib.import_module(f"edged.cli.{name}").register(subparsers)
    attach(parser)
    return parser
