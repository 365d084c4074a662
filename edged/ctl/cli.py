"""The command line of edgectl. Heavy libraries are imported by the command that runs, not by `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from edged import __version__
from edged.ctl.commands import GROUPS
from edged.ctl.errors import DONE, exit_code
from edged.ctl.options import add_common
from edged.errors import EdgedError
from edged.process import discard_output, open_standard_streams
from edged.terminal.registry import Commands, Parser

_INTERRUPTED = 130  # what a shell reports for a process that SIGINT ended

_EPILOG = """\
examples:
  edgectl status
  edgectl --broker mqtt://10.0.0.5 --device tx2-01 watch --seconds 30
  edgectl retrain --lr 0.1

exit codes: 0 done, 1 the device refused or failed, 2 wrong usage or configuration, 3 no answer in time
`edgectl COMMAND --help` tells more, with examples."""


def build_parser() -> Parser:
    """Return the parser with every command registered."""
    parser = Parser(
        prog="edgectl",
        usage="edgectl [options] COMMAND …",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgectl {__version__}")
    add_common(parser, top=True)
    commands = Commands(parser, partial(add_common, top=False))
    groups: dict[str, list[tuple[str, str]]] = {}
    for title, modules in GROUPS.items():
        before = len(commands.lines)
        for module in modules:
            module.register(commands)
        groups[title] = commands.lines[before:]
    commands.describe("Look at edged devices and command them over MQTT.", groups)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run edgectl.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 the device refused or failed, 2 wrong usage or configuration, 3 no answer in time,
        130 interrupted.
    """
    open_standard_streams()
    try:
        args = build_parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except EdgedError as error:
        from edged.terminal.text import clean

        print(f"edgectl: {clean(str(error))}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `edgectl watch | head`: the reader has seen enough
        discard_output()
        return DONE
