"""The manual pages that are packed: up to date, and without a fault that mandoc finds."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from edged.settings import CameraSettings, Settings
from edged.terminal.registry import unfold
from tests.conftest import REPOSITORY

pytest.importorskip("argparse_manpage", reason="needs argparse-manpage (pip install argparse-manpage)")

PROGRAMS = ("edged/cli/edged.1", "edged/ctl/edgectl.1")
PAGES = (*PROGRAMS, "edged/edged.toml.5")


@pytest.fixture
def manual_pages() -> ModuleType:
    return importlib.import_module("manual_pages")


def test_these_are_all_pages(manual_pages: ModuleType) -> None:
    assert (sorted(manual_pages.pages()), sorted(manual_pages.PROGRAMS)) == (sorted(PAGES), sorted(PROGRAMS))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_it_is_made_of_says_now(
    name: str, manual_pages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = manual_pages.pages()[name]
    monkeypatch.setenv("COLUMNS", "60")  # of whoever makes it
    assert manual_pages.changed(REPOSITORY / name, made) is None, "run tools/man"
    text = made("2000-01-01")
    assert manual_pages.changed(REPOSITORY / name, lambda _: text) is None, "only its date is another"
    assert manual_pages.changed(REPOSITORY / name, lambda _: text.replace("edged", "else")) is not None


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_no_fault(name: str, tmp_path: Path) -> None:
    path = REPOSITORY / name
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("needs mandoc (apt install mandoc)")
    done = subprocess.run([mandoc, "-Tlint", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    faulty = tmp_path / path.name
    faulty.write_text(f"{path.read_text()}\n.PP\n.unknown\n")
    assert subprocess.run([mandoc, "-Tlint", str(faulty)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_and_option_is_on_the_page(name: str, manual_pages: ModuleType) -> None:
    build, _ = manual_pages.PROGRAMS[name]
    text = (REPOSITORY / name).read_text().replace("\\-", "-")
    for parser in unfold(build()):
        assert f"\n.SS \\fB{parser.prog}\\fR\n" in text or " " not in parser.prog
        options = [action for action in parser._actions if action.help != argparse.SUPPRESS]
        for option in [option for action in options for option in action.option_strings if action.dest != "help"]:
            assert f"\\fB{option}\\fR" in text, f"{parser.prog} {option}"


def test_every_key_of_the_configuration_is_on_its_page(manual_pages: ModuleType) -> None:
    text = manual_pages.pages()["edged/edged.toml.5"]("2000-01-01").replace("\\-", "-")
    for section, model in Settings.model_fields.items():
        fields = CameraSettings.model_fields if section == "cameras" else model.annotation.model_fields
        for key in fields:
            assert re.search(rf"(?m)^\\fB{key} = ", text), f"{section}.{key}"
    assert '\n\\fBruntime = "auto"\\fR\n' in text, "with its quotes"


def test_text_becomes_source_that_shows_it_as_it_is() -> None:
    roff = importlib.import_module("roff")
    text = "'tis a\\b -x\n.so\n\nTwo:\n  .a list\n  -y"
    assert roff.roff(text) == "\\&'tis a\\eb \\-x .so\n.PP\nTwo:\n.PP\n.nf\n  .a list\n  \\-y\n.fi"
    assert all(len(line) <= 80 for line in roff.roff("½-½ " * 100).splitlines())
    assert not re.search(r"(?m)^\.so", roff.roff("so .so " * 40))
