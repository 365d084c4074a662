"""Text from the wire must not drive the terminal; numbers are short."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edged.terminal import text as screen


def test_clean_takes_escapes_line_breaks_and_reversed_writing_out() -> None:
    assert screen.clean("a\x1b[31mb\nc\u202ed\x00") == "a[31mb cd"
    assert len(screen.clean("x" * 100_000)) <= 1000


def test_markup_is_shown_not_obeyed() -> None:
    out = io.StringIO()
    Console(file=out, width=60).print(screen.text("[bold]cat[/bold] :smile:"))
    assert out.getvalue().strip() == "[bold]cat[/bold] :smile:"


@pytest.mark.parametrize(
    ("fraction", "drawn"), [(0, "----"), (0.5, "##--"), (1, "####"), (7, "####"), (-1, "----"), (math.nan, "----")]
)
def test_bar(fraction: float, drawn: str) -> None:
    assert screen.bar(fraction, 4, ascii_only=True) == drawn


def test_numbers() -> None:
    assert [screen.duration(value) for value in (0.42, 12, 300, 7200, 2e5)] == ["0.4 s", "12 s", "5 min", "2 h", "2 d"]
    assert [screen.watts(value) for value in (340, 4120)] == ["340 mW", "4.12 W"]
    assert [screen.milliseconds(value) for value in (6.91, 1234.5)] == ["6.9", "1234"]
    assert screen.percent(0.7131) == "71.3 %"


def test_json_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_json({"label": "a\n\x1b[31m"})
    line = capsys.readouterr().out
    assert "\x1b" not in line
    assert json.loads(line) == {"label": "a\n\x1b[31m"}


def test_a_narrow_terminal_breaks_no_word() -> None:
    table = Table("model", "id", title="tx2-01")
    table.add_row(screen.text("mobilenet_v2-retrained [b]"), Text("48988dd42704\n80.8 %"))
    table.add_row(screen.text("inception_v3"), screen.text(""))
    for width in (80, 30):
        out = io.StringIO()
        screen.print_part(Console(file=out, width=width), table)
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        assert max(map(len, lines)) <= width
        assert "mobilenet_v2-retrained" in out.getvalue()
        assert "48988dd42704" in out.getvalue()
    assert lines == [
        "tx2-01", "model: mobilenet_v2-retrained", "[b]", "id: 48988dd42704, 80.8 %", "", "model: inception_v3", "",
    ]  # fmt: skip
