"""The script by which a shell completes a program's commands, flags and files, for the commands `completion`.

The only file that knows shtab, which makes the script of the parser. What an argument takes is told by its metavar.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from edged.errors import ConfigError
from edged.terminal.registry import Commands, Parser, Run, unfold

SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("FILE", "FILE.svg", "CSV", "IMAGE", "DIR|TFLITE")
_FOLDERS = ("DIR", "FOLDER")


def add_completion(commands: Commands, run: Run) -> Parser:
    """Add the command `completion`, which `run` carries out by `script`; return its parser."""
    parser = commands.add("completion", run)
    parser.add_argument("shell", choices=SHELLS, help="whose script")
    return parser


def script(parser: argparse.ArgumentParser, shell: str, words: Mapping[str, str]) -> str:
    """Return the script; the parser is not to be parsed with any more.

    Args:
        parser: The program's.
        shell: One of `SHELLS`.
        words: Metavar → command line for `sh` that prints what such an argument may be, when it is completed.

    Raises:
        ConfigError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ConfigError("completion: shtab is needed, and is not installed: pip install shtab") from error
    kinds = {
        **dict.fromkeys(_FILES, shtab.FILE),
        **dict.fromkeys(_FOLDERS, shtab.DIRECTORY),
        **{metavar: shtab.cmd(command) for metavar, command in words.items()},
    }
    common = {option: action for action in parser._actions for option in action.option_strings}
    for page in unfold(parser):
        for action in page._actions:
            if isinstance(action.metavar, str) and action.metavar in kinds:
                action.complete = kinds[action.metavar]  # type: ignore[attr-defined]  # where shtab looks for it
            if action.help == argparse.SUPPRESS and (same := common.get("".join(action.option_strings[:1]))):
                action.help = same.help  # their help stands on the first page alone, but they may stand anywhere
    return str(shtab.complete(parser, shell))
