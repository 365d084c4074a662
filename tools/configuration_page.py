"""The manual page of edged's configuration, made of the comments in configs/edged.toml: a part of `tools/man`."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from edged import __version__
from roff import escaped, filled, roff

SOURCE = Path(__file__).resolve().parent.parent / "configs" / "edged.toml"
_SECTION = re.compile(r"#?\[[\w.]+\]")
_KEY = re.compile(r"#?(\w+ = .+)")
_INTRODUCTION = """\
TOML, in sections. Every key has a default, which is shown here: what is not set stays as it is. Keys that edged does \
not know are errors. Environment variables win over the file, EDGED_SECTION__KEY: EDGED_MODEL__THREADS=1. \
`edged check` prints what is in effect."""


def configuration_page(date: str) -> str:
    """Return the page; `date` is that of it."""
    lines = [
        f'.TH EDGED.TOML "5" "{date}" "edged {__version__}" "edged"',
        *(".SH NAME", "edged.toml \\- configuration of edged"),
        *(".SH SYNOPSIS", ".I /etc/edged/edged.toml"),
        *(".SH DESCRIPTION", filled(_INTRODUCTION), ".SH SECTIONS"),
    ]
    said: list[str] = []  # comment lines since the last key
    _, _, text = SOURCE.read_text(encoding="utf-8").partition("\n\n")  # the file's own introduction is about the file
    for kind, group in groupby(text.splitlines(), _kind):
        found = list(group)
        if kind == "comment":
            said = [line.removeprefix("#").removeprefix(" ") for line in found]
        elif kind == "section":
            lines += [f".SS {line.removeprefix('#')}" for line in found]
            lines += [roff(_joined(said))] if said else []
            said = []
        elif kind == "key":
            for number, line in enumerate(found):
                lines += [".TQ" if number else ".TP", f"\\fB{escaped(line.removeprefix('#'))}\\fR"]
            lines += [roff(_joined(said), between=".IP")] if said else []
            said = []
    return "\n".join([*lines, ".SH SEE ALSO", ".BR edged (1)"]) + "\n"


def _kind(line: str) -> str:
    if _SECTION.fullmatch(line):
        return "section"
    if _KEY.fullmatch(line):
        return "key"
    return "comment" if line.startswith("#") else "empty"


def _joined(said: list[str]) -> str:
    """Return comment lines as text: indented ones are a list, for which `roff` wants a paragraph."""
    parts = [(listed, "\n".join(some)) for listed, some in groupby(said, lambda line: line.startswith("  "))]
    return "\n\n".join(part for _, part in parts)
