"""What `edgectl retrain` and `edgectl jobs JOB` make of a training's report, whatever device has written it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.contract.messages import Job
from edged.ctl.commands.jobs import _print_report
from edged.ctl.commands.retrain import print_report

GOLDEN = Path(__file__).parents[1] / "contract" / "golden" / "training.json"


def test_a_report_is_shown_and_its_text_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(GOLDEN.read_text(encoding="utf-8"))
    values["counts"]["ro\x1b[2Jses"] = 3
    values["classes"]["ro\x1b[2Jses"] = {"images": 1, "precision": None, "recall": 0.5}
    report = print_report(values)
    shown = capsys.readouterr().out
    assert report is not None
    assert report.model == values["model"]
    assert "ro[2Jses" in shown
    assert "\x1b" not in shown
    assert "furthest from their label" in shown


def test_a_report_of_another_form_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(GOLDEN.read_text(encoding="utf-8"))
    values["accuracy"] = 0.9
    assert print_report(values) is None
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "edgectl: the device's report is of another form (accuracy); --json prints it as it is\n"


@pytest.mark.parametrize("cmd", ["retrain", "profile"])
def test_a_job_whose_report_cannot_be_read_is_one_line(cmd: str, capsys: pytest.CaptureFixture[str]) -> None:
    _print_report(Job(id="j1", cmd=cmd, status="succeeded", report={"seconds": 3, "model": {}, "v": 1}))
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


def test_the_numbers_of_a_running_training_are_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    detail = {"epoch": 3, "loss": 0.41, "accuracy": 0.8}
    _print_report(Job(id="j1", cmd="retrain", status="running", stage="training", report=detail))
    assert capsys.readouterr() == ("", "")
