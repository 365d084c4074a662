"""The manual pages that are packed: made of the parsers as they are now, and without a fault that mandoc finds."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edged.terminal.registry import unfold
from tests.conftest import REPOSITORY

pytest.importorskip("argparse_manpage", reason="needs argparse-manpage, which tools/test installs")
import manual_pages

PAGES = [REPOSITORY / name for name in manual_pages.PAGES]


@pytest.mark.parametrize("name", manual_pages.PAGES)
def test_a_page_says_what_the_parser_says_now(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # of whoever makes it
    build, about = manual_pages.PAGES[name]
    assert manual_pages.changed(REPOSITORY / name, build, about) is None, "run tools/man"
    assert manual_pages.changed(REPOSITORY / name, build, "something else") is not None


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_mandoc_finds_no_fault(path: Path, tmp_path: Path) -> None:
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("needs mandoc (apt install mandoc)")
    done = subprocess.run([mandoc, "-Tlint", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    faulty = tmp_path / path.name
    faulty.write_text(f"{path.read_text()}\n.PP\n.unknown\n")
    assert subprocess.run([mandoc, "-Tlint", str(faulty)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", manual_pages.PAGES)
def test_every_command_and_option_is_on_the_page(name: str) -> None:
    build, _ = manual_pages.PAGES[name]
    text = (REPOSITORY / name).read_text().replace("\\-", "-")
    for parser in unfold(build()):
        assert f"\n.SS \\fB{parser.prog}\\fR\n" in text or " " not in parser.prog
        options = [action for action in parser._actions if action.help != argparse.SUPPRESS]
        for option in [option for action in options for option in action.option_strings if action.dest != "help"]:
            assert f"\\fB{option}\\fR" in text, f"{parser.prog} {option}"


def test_text_becomes_source_that_shows_it_as_it_is() -> None:
    text = "'tis a\\b -x\n.so\n\nTwo:\n  .a list\n  -y"
    assert manual_pages.roff(text) == "\\&'tis a\\eb \\-x .so\n.PP\nTwo:\n.PP\n.nf\n  .a list\n  \\-y\n.fi"
    assert all(len(line) <= 80 for line in manual_pages.roff("½-½ " * 100).splitlines())
    assert not re.search(r"(?m)^\.so", manual_pages.roff("so .so " * 40))
