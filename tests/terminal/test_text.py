"""Text from the wire must not drive the terminal; numbers are short."""

from __future__ import annotations

import json
import math

import pytest

from edged.terminal import text as screen


def test_clean_takes_escapes_line_breaks_and_reversed_writing_out() -> None:
    assert screen.clean("a\x1b[31mb\nc\u202ed\x00") == "a[31mb cd"
    assert len(screen.clean("x" * 100_000)) <= 1000


@pytest.mark.parametrize(
    ("fraction", "drawn"), [(0, "----"), (0.5, "##--"), (1, "####"), (7, "####"), (-1, "----"), (math.nan, "----")]
)
def test_bar(fraction: float, drawn: str) -> None:
    assert screen.bar(fraction, 4, ascii_only=True) == drawn


def test_numbers() -> None:
    assert [screen.duration(value) for value in (0.42, 12, 300, 7200, 2e5)] == ["0.4 s", "12 s", "5 min", "2 h", "2 d"]
    assert [screen.watts(value) for value in (340, 4120)] == ["340 mW", "4.12 W"]
    assert [screen.milliseconds(value) for value in (6.91, 1234.5)] == ["6.9", "1234"]
    assert [screen.precise_milliseconds(value) for value in (0.0123, 3.4567, 123.4)] == ["0.012", "3.46", "123"]
    assert [screen.count(value) for value in (512, 3487816, 2e9)] == ["512", "3.49M", "2G"]
    assert screen.percent(0.7131) == "71.3 %"


def test_a_whole_report_is_cleaned() -> None:
    report = {"a\x1b[31m": ["b\x00", {"c": "d\ne"}], "f": 0.5, "g": None}
    assert screen.harmless(report) == {"a[31m": ["b", {"c": "d e"}], "f": 0.5, "g": None}


def test_json_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_json({"label": "a\n\x1b[31m"})
    line = capsys.readouterr().out
    assert "\x1b" not in line
    assert json.loads(line) == {"label": "a\n\x1b[31m"}
