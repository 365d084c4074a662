"""Manual pages: of both programs, made of their parsers by argparse-manpage, and of the configuration.

What `tools/man` runs. They are kept in the repository and packed as they are, so that installing needs neither this nor
argparse-manpage; a test makes them anew and compares. The date on a page is the day on which its text changed.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from argparse_manpage.manpage import Manpage

from configuration_page import configuration_page
from edged import __version__
from edged.cli.commands import build_parser as build_edged
from edged.ctl.cli import build_parser as build_edgectl
from edged.terminal.registry import Parser, unfold
from roff import escaped, filled, roff

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS: dict[str, tuple[Callable[[], Parser], str]] = {
    "edged/cli/edged.1": (build_edged, "classify camera frames and retrain on the device"),
    "edged/ctl/edgectl.1": (build_edgectl, "look at edged devices and command them over MQTT"),
}
"""Where a page is → the parser, and what the program is for."""
_CODES = {
    "edged": ("done", "failed", "wrong usage or configuration"),
    "edgectl": ("done", "a device refused or failed", "wrong usage or configuration", "no answer in time"),
}
_FILES = {
    "edged": {
        "/etc/edged/edged.toml": "the configuration; each key is explained in it",
        "/var/lib/edged": "the state folder of the service; of anybody else ~/.local/state/edged",
    },
    "edgectl": {
        "~/.config/edged/contexts": "what edgectl login keeps",
        "~/.config/edged/groups.toml": "groups of devices, for --device @GROUP",
        "~/.config/edged/key": "the key that signs commands",
        "~/.local/state/edged/rollouts": "roll-outs that were begun here",
    },
}
_DATE = re.compile(r'^(\.TH \S+ "\d" )"[^"]*"', re.MULTILINE)


def page(build: Callable[[], Parser], about: str, date: str) -> str:
    """Return a manual page.

    Args:
        build: Makes the program's parser.
        about: What the program is for.
        date: Of the page.
    """
    parser = build()
    _prepare(parser)
    manual = Manpage(
        parser, {"manual_title": "edged", "project_name": "edged", "version": __version__, "date": date,
                 "description": about}, format="single-commands-section",
    )  # fmt: skip
    manual.mf.format_text = _text
    manual.formatter._width = 100_000  # argparse shall not break lines, at hyphens too, before `roff` does
    manual.synopsis = [parser.prog, "[options]", "COMMAND", "..."]
    other = "edgectl" if parser.prog == "edged" else "edged"
    files = [f".TP\n.I {escaped(path)}\n{filled(text)}" for path, text in _FILES[parser.prog].items()]
    codes = [f".TP\n{code}\n{text}" for code, text in enumerate(_CODES[parser.prog])]
    manual.add_section("exit status", "=", "\n".join(codes))
    manual.add_section("files", "=", "\n".join(files))
    manual.add_section("see also", "=", f".BR {other} (1)")
    return _DATE.sub(rf'\1"{date}"', _tidy(str(manual)))  # argparse-manpage writes the date's hyphens as minus signs


def _prepare(parser: Parser) -> None:
    """Make a parser one that reads well as a page: no option twice, nothing that argparse lays out itself."""
    common = {option for action in parser._actions for option in action.option_strings}
    for one in unfold(parser):
        assert isinstance(one, Parser)
        one.description = one.introduction or None
        if one is not parser:
            one.usage = " ".join([one.prog, "[options]", *map(_usage, one._get_positional_actions())])
            if one.examples:
                one.description = f"{one.introduction}\n\nExamples:\n{one.examples}"
        for action in one._actions:
            if one is not parser and common.intersection(action.option_strings):
                action.help = argparse.SUPPRESS  # each command takes these, and the first list has them
            if isinstance(action, argparse._SubParsersAction):
                one._positionals.title = "commands"
                for choice in action._choices_actions:
                    choice.help = None  # the description begins with it
    if len(common) > len(("-h", "--help", "--version")):
        parser.description = f"{parser.introduction}\n\nOptions may stand before a command or after it."
    parser._action_groups.sort(key=lambda group: group is parser._positionals)  # the many commands come last
    parser.epilog = None


def _usage(action: argparse.Action) -> str:
    """Say how a positional argument is written."""
    if isinstance(action, argparse._SubParsersAction):
        return "COMMAND"
    name = str(action.metavar or "|".join(map(str, action.choices or [action.dest.upper()])))
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


def _text(text: str) -> str:
    """Return what argparse-manpage has to say as source; a line that tells the usage stands out."""
    if text.startswith("usage: "):
        return f".B {escaped(text.removeprefix('usage: ').strip())}\n.PP"
    return roff(text)


def _tidy(source: str) -> str:
    """Take out what mandoc finds to be too much, empty lines and spaces at ends; set the titles of lists apart."""
    text = "".join(f"{line.rstrip()}\n" for line in source.splitlines() if line.strip())
    return re.sub(r"^(?=[^.\n]+\n\.RS 7\n)", ".PP\n", text, flags=re.MULTILINE).replace(".PP\n.PP\n", ".PP\n")


def pages() -> dict[str, Callable[[str], str]]:
    """Return where each page is → what makes it, given its date."""
    programs = {name: partial(page, build, about) for name, (build, about) in PROGRAMS.items()}
    return {**programs, "edged/edged.toml.5": configuration_page}


def changed(path: Path, make: Callable[[str], str]) -> str | None:
    """Return what shall stand in a page's file; None: what stands there is right, but for the date."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    new = make(datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat())
    return None if _DATE.sub(r"\1", old) == _DATE.sub(r"\1", new) else new


def main() -> int:
    """Write the pages that are no more what they are made of; return the exit code."""
    for name, make in pages().items():
        if (new := changed(ROOT / name, make)) is not None:
            (ROOT / name).write_text(new, encoding="utf-8")
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
