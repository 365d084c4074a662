"""The `edged` command: each subcommand is a module with `register(subparsers)`; `run(args)` returns the exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from edged import __version__
from edged.errors import ConfigError, EdgedError

_COMMANDS = ("run", "classify", "models", "retrain", "sources", "finetune", "profile", "check", "doctor", "demo")
"""Modules of this package, in the order of `edged --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the subcommand, turn errors into one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="edged", description="Classify camera frames on this machine; see the README."
    )
    parser.add_argument("--version", action="version", version=f"edged {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        importlib.import_module(f"edged.cli.{name}").register(subparsers)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except EdgedError as error:
        print(f"edged: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone (`| head`): that is its right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
