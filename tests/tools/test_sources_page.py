"""The pages about the choice of a source say what was measured: rendered again from the numbers and compared."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from edged.lab.sources.race import FEW
from tests.conftest import REPOSITORY


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    from benchmarks import sources_report

    return sources_report


def test_the_page_and_the_readme_are_rendered_from_the_numbers(report: ModuleType) -> None:
    numbers = report.read()
    assert report.render(numbers) == (REPOSITORY / "tools/reports/sources.md").read_text(encoding="utf-8")
    assert report.chart(numbers).svg() == (REPOSITORY / "tools/reports/sources.svg").read_text(encoding="utf-8")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert report.with_table(readme, numbers) == readme
    assert "{{" not in report.render(numbers)


def test_another_number_makes_another_page(report: ModuleType) -> None:
    numbers = report.read()
    changed = json.loads(json.dumps(numbers))
    next(iter(changed["targets"].values()))["ways"]["default"]["regret"] += 0.1
    assert report.render(changed) != report.render(numbers)
    assert report.readme_table(changed) != report.readme_table(numbers)


def test_what_was_measured_is_what_was_asked_for(report: ModuleType) -> None:
    """On photos set aside: at least 20 targets, 10 networks that learned from different pictures, and in time."""
    numbers = report.read()
    assert numbers["side"] == "report"
    assert len(numbers["targets"]) >= 20
    own = {name for name, one in numbers["networks"].items() if one["dataset"] is None}
    assert len(own) + len({one["dataset"] for one in numbers["networks"].values()} - {None}) >= 10
    every = [*numbers["targets"].values(), *numbers["many"].values()]
    raced = [one["ways"]["default"]["share"] for one in every if one["photos"] >= FEW]
    assert sum(raced) / len(raced) <= 0.25
    for one in every:
        if one["photos"] < FEW:
            assert set(one["ways"]["default"]["photos_seen"]) == {one["photos"]}
            assert one["ways"]["default"]["share"] == pytest.approx(1, abs=0.05)
        else:
            assert one["ways"]["default"] == one["ways"]["race alone"]
    assert len(numbers["many"]) >= 20
    for one in every:
        assert set(one["accuracy"]) == set(numbers["networks"])
        best = max(one["accuracy"].values())
        for way in ("default", "exact", "LogME"):
            assert 0 <= one["ways"][way]["regret"] <= best


def test_regret_and_time_of_sets_of_each_size(report: ModuleType) -> None:
    """Shares are means over the sets; of the summed time a set has its part by its own time."""

    def one(photos: int, regret: float, share: float, exact_s: float) -> dict[str, object]:
        way = {"regret": regret, "share": share}
        names = ("default", "exact", "LogME", "divergence and top-1", "top-1 alone")
        return {"photos": photos, "exact_s": exact_s, "ways": dict.fromkeys(names, way)}

    numbers = {
        "targets": {"a": one(100, 0.0, 1.0, 10.0), "b": one(199, 0.0, 1.0, 10.0), "c": one(200, 0.01, 0.2, 30.0),
                    "d": one(399, 0.006, 0.3, 30.0)},
        "many": {"e": one(400, 0.0, 0.2, 60.0), "f": one(600, 0.0, 0.2, 60.0)},
    }  # fmt: skip
    lines = {line.split(" | ")[0][2:]: line.split(" | ")[1:8] for line in report.by_size(numbers)[2:]}
    assert lines["under 200 photos"] == ["2", "0.0 ± 0.0", "yes", "100 %", "100 %", "10, 10", "no"]
    assert lines["200 to 399"] == ["2", "0.8 ± 0.2", "no", "25 %", "25 %", "8, 9", "yes"]
    assert lines["400 and more"] == ["2", "0.0 ± 0.0", "yes", "20 %", "20 %", "12, 12", "yes"]
    assert lines["200 and more"][:5] == ["4", "0.4 ± 0.2", "yes", "22 %", "22 %"]
    assert lines["the usual ones"][3:5] == ["62 %", "44 %"]
    assert lines["**all**"] == ["6", "0.3 ± 0.2", "yes", "48 %", "30 %", "10, 12", "no"]
