"""The command line of edgectl. Heavy libraries are imported by the command that runs, not by `--help`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edged.ctl.commands import GROUPS
from edged.ctl.options import add_common, settle
from edged.terminal.program import run_program
from edged.terminal.registry import Parser, build_program

_EPILOG = """\
examples:
  edgectl status
  edgectl --broker mqtt://10.0.0.5 --device tx2-01 watch --seconds 30
  edgectl retrain --lr 0.1

exit codes: 0 done, 1 the device refused or failed, 2 wrong usage or configuration, 3 no answer in time; \
`edgectl COMMAND --help` tells more, with examples"""


def build_parser() -> Parser:
    """Return the parser with every command registered."""
    return build_program(
        "edgectl",
        "Look at edged devices and command them over MQTT.",
        GROUPS,
        epilog=_EPILOG,
        add_options=partial(add_common, top=True),
        add_common=partial(add_common, top=False),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run edgectl.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 the device refused or failed, 2 wrong usage or configuration, 3 no answer in time,
        130 interrupted.
    """

    def run() -> int:
        args = build_parser().parse_args(argv)
        settle(args)
        code: int = args.run(args)
        return code

    return run_program("edgectl", run)
