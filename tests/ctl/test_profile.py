"""What `edgectl profile` makes of a report, whatever device has written it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.ctl.commands.profile import _print

GOLDEN = Path(__file__).parents[1] / "contract" / "golden" / "profile.json"


def test_a_report_is_shown_and_its_text_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(GOLDEN.read_text(encoding="utf-8"))
    report["model"]["name"] = "mobile\x1b[2Jnet"
    _print(report, 20)
    shown = capsys.readouterr().out
    assert "mobile[2Jnet" in shown
    assert "\x1b" not in shown
    assert "one inference end to end" in shown
    assert "no GPU here" in shown


def test_a_report_of_another_form_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(GOLDEN.read_text(encoding="utf-8"))
    del report["layers_sum"]["whole_ms"]
    _print(report, 20)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "edgectl: the device's report is of another form (layers_sum.whole_ms); --json prints it as it is"
    ]
