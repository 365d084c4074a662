"""How a command joins a command line: its name, its one line of help, its examples, its `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_USAGE = 2

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, and may get options as late as it parses."""

    _later: Callable[[argparse.ArgumentParser], None] | None = None

    def add_later(self, add: Callable[[argparse.ArgumentParser], None]) -> None:
        """Have `add` called with this parser before it parses, or prints its help; not for that of other commands."""
        self._later = add

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse's, with the options that were to come later."""
        if self._later is not None:
            add, self._later = self._later, None
            add(self)
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the mistake, and where help is, and exit with 2."""
        program, *_ = self.prog.split()
        print(f"{program}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(_USAGE)


class Commands:
    """The commands of a program, or of one family such as `edgectl models …`.

    Args:
        parser: The program's, or the family's.
        add_common: Adds the options that every command takes.

    Attributes:
        lines: (name, one line of help) of what was added, in order.
    """

    def __init__(self, parser: argparse.ArgumentParser, add_common: Callable[[argparse.ArgumentParser], None]) -> None:
        self._parser = parser
        self._add_common = add_common
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
        self._add_common(parser)
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
        self._add_common(parser)
        self.lines.append((name, summary))
        return Commands(parser, self._add_common)

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
        return _USAGE
