"""How a command joins a command line: by its name and its function, whose docstring is its help."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

from edged.terminal.program import USAGE

Run = Callable[[argparse.Namespace], int]
AddOptions = Callable[[argparse.ArgumentParser], None]


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, and may get options as late as it parses."""

    introduction: str = ""
    """What the command's page says above its lists and options."""
    examples: str = ""
    """Lines of it, as they are shown."""
    _later: AddOptions | None = None

    def add_later(self, add: AddOptions) -> None:
        """Have `add` called with this parser before it parses, or prints its help; not for that of other commands."""
        self._later = add

    def add_now(self) -> None:
        """Add the options that were to come later."""
        if self._later is not None:
            add, self._later = self._later, None
            add(self)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse's, with the options that were to come later."""
        self.add_now()
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the mistake, and where help is, and exit with 2."""
        program, *_ = self.prog.split()
        print(f"{program}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE)


class Formatter(argparse.HelpFormatter):
    """Wraps each paragraph of a description, and leaves those as they are that have indented lines: lists, examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else super(Formatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


class Commands:
    """The commands of a program, or of one family such as `edgectl models …`.

    Args:
        parser: The program's, or the family's.
        add_common: Adds the options that every command takes; None: there are none.

    Attributes:
        lines: (name, one line of help) of what was added, in order.
    """

    def __init__(self, parser: argparse.ArgumentParser, add_common: AddOptions | None = None) -> None:
        self._parser = parser
        self._add_common = add_common
        self._subparsers = parser.add_subparsers(
            prog=parser.prog, metavar="COMMAND", parser_class=Parser, help=argparse.SUPPRESS
        )
        self.lines: list[tuple[str, str]] = []
        parser.set_defaults(run=self._help, command=_words(parser))

    def add(self, name: str, run: Run) -> Parser:
        """Add a command. Its help is the docstring of its function, as a person shall read it.

        The docstring's first line stands in the list of commands, paragraphs say more (the terminal's width breaks
        their lines), and the lines under "Examples:" are shown as they are. The parsed arguments tell the command's
        words as `command`, e.g. "models list".

        Args:
            name: What the user types.
            run: Called with the parsed arguments; returns the exit code.

        Returns:
            The command's parser; add its own arguments to it. The common ones are there.
        """
        parser, page = self._join(name, inspect.getdoc(run))
        parser.description = page
        parser.set_defaults(run=run, command=_words(parser))
        return parser

    def family(self, name: str, page: str | None, *, add_common: AddOptions | None = None) -> Commands:
        """Add a command that has commands of its own: `edgectl NAME COMMAND`.

        Args:
            name: What the user types.
            page: Its help, written like the docstring of a command: that of the module, say.
            add_common: Adds the options that every command of the family takes; None: those of the program's commands.
        """
        parser, introduction = self._join(name, page)
        family = Commands(parser, add_common or self._add_common)
        parser.add_later(lambda _: family.describe(introduction))
        return family

    def describe(self, introduction: str, groups: Mapping[str, Sequence[tuple[str, str]]] | None = None) -> None:
        """Write the help page's list of commands, under headings where `groups` are given."""
        groups = groups or {"commands": self.lines}
        width = max(len(name) for lines in groups.values() for name, _ in lines)
        pages = [
            f"{title}:\n" + "\n".join(f"  {name:<{width}}  {summary}" for name, summary in lines)
            for title, lines in groups.items()
        ]
        self._parser.description = "\n\n".join([introduction, *pages])

    def _join(self, name: str, page: str | None) -> tuple[Parser, str]:
        """Add a parser; returns it and what its page says above the examples."""
        introduction, _, examples = (page or "").strip().partition("\n\nExamples:\n")
        first, _, _ = introduction.partition("\n")
        summary = first[:1].lower() + first[1:].rstrip(".")
        parser: Parser = self._subparsers.add_parser(
            name,
            help=summary.replace("%", "%%"),
            epilog=f"examples:\n{examples}",
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        parser.introduction, parser.examples = introduction, examples
        if self._add_common is not None:
            self._add_common(parser)
        self.lines.append((name, summary))
        return parser, introduction

    def _help(self, args: argparse.Namespace) -> int:
        del args
        self._parser.print_help(sys.stderr)
        return USAGE


def build_program(
    name: str,
    introduction: str,
    groups: Mapping[str, Sequence[ModuleType]],
    *,
    epilog: str,
    add_options: AddOptions | None = None,
    add_common: AddOptions | None = None,
) -> Parser:
    """Return the command line of a whole program.

    Args:
        name: The program's.
        introduction: What it is for, one sentence.
        groups: Heading on the help page → modules with a function `register(commands)`, in order.
        epilog: End of the help page: examples, exit codes.
        add_options: Adds the program's own options, which stand before a command's name.
        add_common: Adds the options that every command takes.
    """
    from edged import __version__

    parser = Parser(
        prog=name,
        usage=f"{name} [options] COMMAND …",
        epilog=epilog,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    if add_options is not None:
        add_options(parser)
    commands = Commands(parser, add_common)
    pages: dict[str, list[tuple[str, str]]] = {}
    for title, modules in groups.items():
        before = len(commands.lines)
        for module in modules:
            module.register(commands)
        pages[title] = commands.lines[before:]
    parser.introduction = introduction
    commands.describe(introduction, pages)
    return parser


def unfold(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a program's parser and those of all its commands, made whole for what reads them instead of a command line.

    Options that were to come later are there, and lists of commands are no more hidden. Not to be parsed with.
    """
    if isinstance(parser, Parser):
        parser.add_now()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = None  # argparse's own list is hidden: `describe` writes a better one
            for below in action.choices.values():
                yield from unfold(below)


def _words(parser: argparse.ArgumentParser) -> str:
    _, _, words = parser.prog.partition(" ")
    return words
