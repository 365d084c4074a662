"""What `tools/reports/taught.md` says is not reached: everything that is not, and nothing else."""

from __future__ import annotations

import copy

import pytest

from tests.conftest import REPOSITORY


def test_whatever_is_not_what_was_asked_for_is_told_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "tools" / "reports")
    import asked
    import taught

    numbers = taught.read()
    lines = list(asked.missed(numbers))
    for one in asked.all_asked(numbers):
        told = [line for line in lines if line.startswith(f"* {one.what}, asked {one.asked}: ")]
        assert any(f"{one.where} {one.measured}" in line for line in told) is not one.reached, one
    whats = {one.what for one in asked.all_asked(numbers)}
    assert len(whats) == 10, "each number that was asked for"

    better = copy.deepcopy(numbers)
    for album in better["at_once"]["albums"]:
        album["wall_s"] = 1.0
    for row in better["calibration"]["rows"]:
        row["after"]["error"] = 0.0301 if row["set"] == "kinds" else 0.03
    for task in better["suggest"]["tasks"].values():
        task["reached"]["images suggest"] = task["goal"]["labels"] // 2
    for row in better["unknown"]["far"]:
        row["pass"] = {who: {"0.02": 0.05, "0.05": 0.0} for who in row["pass"]}
        row["false_alarms"] = {"0.02": 0.02, "0.05": 0.0601 if row["set"] == "flowers" else 0.05}
    for row in better["doubtful"]["rows"]:
        if row["share"]:
            row["edged"][0] = 0.77 if row["set"] == "handwriting" else 0.78
    told = "\n".join(asked.missed(better))
    assert [line.partition(",")[0] for line in told.splitlines()] == [
        "* frames of taught things that `unknown = 0.05` calls unknown",
        "* expected calibration error",
        "* wrong ones among the first n named",
    ]
    assert "kinds (30 a label) 3.0% (chance" in told
    assert "flowers (30 a label) 6.01%; flowers (100 a label) 6.01%." in told
    assert "handwriting (all) 77%" in told
