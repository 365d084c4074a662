"""How a command joins edgectl: its name, its one line of help, its examples, its `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from edged.ctl.errors import USAGE
from edged.ctl.options import add_common

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake, and where help is, and exit with 2."""
        print(f"edgectl: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE)


class Commands:
    """The commands of edgectl, or of one family such as `edgectl models …`.

    Attributes:
        lines: (name, one line of help) of what was added, in order.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._subparsers = parser.add_subparsers(
            prog=parser.prog, metavar="COMMAND", parser_class=Parser, help=argparse.SUPPRESS
        )
        self.lines: list[tuple[str, str]] = []
        parser.set_defaults(run=self._help)

    def add(self, name: str, run: Run, *, summary: str, details: str = "", examples: str) -> Parser:
        """Add a command.

        Args:
            name: What the user types.
            run: Called with the parsed arguments; returns the exit code.
            summary: One line for the list of commands, lower case, no full stop.
            details: Paragraphs for `edgectl NAME --help`.
            examples: Lines for the same page, indented by the caller as they should appear.

        Returns:
            The command's parser; add its own arguments to it. The common ones are there.
        """
        description = summary[:1].upper() + summary[1:] + "." + (f"\n\n{details}" if details else "")
        parser: Parser = self._subparsers.add_parser(
            name,
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_common(parser, top=False)
        parser.set_defaults(run=run)
        self.lines.append((name, summary))
        return parser

    def family(self, name: str, *, summary: str, examples: str) -> Commands:
        """Add a command that has commands of its own: `edgectl NAME COMMAND`; `describe` it once they are added."""
        parser: Parser = self._subparsers.add_parser(
            name,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_common(parser, top=False)
        self.lines.append((name, summary))
        return Commands(parser)

    def describe(self, introduction: str, groups: dict[str, list[tuple[str, str]]] | None = None) -> None:
        """Write the help page's list of commands, under headings where `groups` are given."""
        groups = groups or {"commands": self.lines}
        width = max(len(name) for lines in groups.values() for name, _ in lines)
        pages = [
            f"{title}:\n" + "\n".join(f"  {name:<{width}}  {summary}" for name, summary in lines)
            for title, lines in groups.items()
        ]
        self._parser.description = "\n\n".join([introduction, *pages])

    def _help(self, args: argparse.Namespace) -> int:
        del args
        self._parser.print_help(sys.stderr)
        return USAGE
