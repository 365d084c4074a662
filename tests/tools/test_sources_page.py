"""The pages about the choice of a source say what was measured: rendered again from the numbers and compared."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

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
    next(iter(changed["targets"].values()))["ways"]["race"]["regret"] += 0.1
    assert report.render(changed) != report.render(numbers)
    assert report.readme_table(changed) != report.readme_table(numbers)


def test_what_was_measured_is_what_was_asked_for(report: ModuleType) -> None:
    """On photos set aside: at least 20 targets, 10 networks that learned from different pictures, and in time."""
    numbers = report.read()
    assert numbers["side"] == "report"
    assert len(numbers["targets"]) >= 20
    own = {name for name, one in numbers["networks"].items() if one["dataset"] is None}
    assert len(own) + len({one["dataset"] for one in numbers["networks"].values()} - {None}) >= 10
    shares = [one["ways"]["race"]["share"] for one in numbers["targets"].values()]
    assert sum(shares) / len(shares) <= 0.25
    assert len(numbers["many"]) >= 20
    for one in (*numbers["targets"].values(), *numbers["many"].values()):
        assert set(one["accuracy"]) == set(numbers["networks"])
        best = max(one["accuracy"].values())
        for way in ("race", "exact", "LogME"):
            assert 0 <= one["ways"][way]["regret"] <= best
