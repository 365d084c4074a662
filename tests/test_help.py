"""Every page of help of both programs has examples, and each of them is a command line that the program takes."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from edged.cli import commands
from edged.ctl import cli


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name → parser of the commands directly below."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def pages(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for below in subcommands(parser).values():
        yield from pages(below)


PROGRAMS: dict[str, argparse.ArgumentParser] = {"edged": commands.build_parser(), "edgectl": cli.build_parser()}
PAGES = [(name, page) for name, program in PROGRAMS.items() for page in pages(program)]


def examples(program: str, page: argparse.ArgumentParser) -> list[str]:
    """The command lines of a page's examples."""
    _, found, after = page.format_help().partition("\nexample")
    lines = [line.strip() for line in after.splitlines()[1:]] if found else []
    return [re.split(" [|>] ", line)[0] for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize(("program", "page"), PAGES, ids=[page.prog for _, page in PAGES])
def test_a_page_has_examples_that_are_right(program: str, page: argparse.ArgumentParser) -> None:
    lines = examples(program, page)
    assert lines, f"{page.prog} --help has no example"
    for line in lines:
        args = PROGRAMS[program].parse_args(shlex.split(line)[1:])  # SystemExit: not a command line
        assert callable(args.run)
        words = [word for word in shlex.split(line)[1:] if not word.startswith("-")]
        assert set(page.prog.split()[1:]) <= set(words), f"{line!r} is of another command"


def test_every_program_is_walked() -> None:
    progs = [page.prog for _, page in PAGES]
    assert {"edged", "edged models pull", "edged premodel train", "edgectl", "edgectl images push"} <= set(progs)
    assert len(progs) > 40


def test_descriptions_are_still_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    page = subcommands(PROGRAMS["edged"])["profile"].format_help()
    introduction, _, _ = page.partition("\n\noptions:")
    assert max(map(len, introduction.splitlines())) <= 60
    assert "on each runtime installed" in " ".join(introduction.split())
    assert "\n  edged profile inception_v3 --only layers,batch --svg layers.svg\n" in page, "one line, to copy"
    page = PROGRAMS["edged"].format_help()
    line = "\n  run +classify frames and publish results until stopped\n"
    assert re.search(line, page), "one line for each command"
