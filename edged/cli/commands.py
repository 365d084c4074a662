"""The commands of `edged`, in the groups of its help page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.cli import (
    check,
    classify,
    completion,
    demo,
    doctor,
    finetune,
    models,
    premodel,
    profile,
    promotion,
    retrain,
    run,
    schema,
    sources,
)
from edged.terminal.registry import Parser, build_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from edged.cli.interrupts import Interrupts

GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "classify": (run, classify, demo),
    "train": (retrain, finetune, sources),
    "models": (models, promotion, profile, premodel),
    "look after this machine": (check, doctor, completion, schema),
}
"""Heading on the help page → its commands, in order."""
_AT_ONCE = ("run", "classify", "check", "schema")
"""Commands with nothing to clear up, or, like the daemon, with a handler of their own for SIGINT once there is."""
_EPILOG = """\
examples:
  edged demo
  edged doctor --config /etc/edged/edged.toml
  edged classify photo.jpg

exit codes: 0 done, 1 failed, 2 wrong usage or configuration; `edged COMMAND --help` tells more, with examples"""


def build_parser() -> Parser:
    """Return the parser with every command registered."""
    return build_program("edged", "Classify camera frames on this machine; see the README.", GROUPS, epilog=_EPILOG)


def run_command(argv: Sequence[str] | None, interrupts: Interrupts) -> int:
    """Parse the command line and do what it says.

    Args:
        argv: Arguments without the program's name; None: those of the process.
        interrupts: Told when a command begins that must be ended in order.

    Returns:
        The exit code.
    """
    args = build_parser().parse_args(argv)
    if args.command not in _AT_ONCE:
        interrupts.raise_from_now_on()
    code: int = args.run(args)
    return code
