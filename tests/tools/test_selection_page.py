"""Every number on the page of the selection, in its picture and in README's table comes from one JSON file."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import REPOSITORY

REPORTS = REPOSITORY / "tools" / "reports"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("selection_page", REPORTS / "selection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def result() -> dict[str, Any]:
    return dict(json.loads((REPORTS / "selection.json").read_text(encoding="utf-8")))


def test_the_page_is_rendered_from_the_json(page: ModuleType, result: dict[str, Any]) -> None:
    assert (REPORTS / "selection.md").read_text(encoding="utf-8") == page.page(result)
    assert (REPORTS / "selection.svg").read_text(encoding="utf-8") == page.picture(result)


def test_the_table_of_readme_is_rendered_from_the_json(page: ModuleType, result: dict[str, Any]) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert page.BEGIN in readme
    assert page.with_table(readme, result) == readme


def test_another_json_gives_another_page(page: ModuleType, result: dict[str, Any]) -> None:
    other = copy.deepcopy(result)
    for row in other["report"]["rows"]:
        if row["name"] == "learned":
            row["top1"], row["beside_best"]["difference"] = 0.1234, -0.7654
    assert "12.34%" in page.page(other)
    assert "-76.54" in page.page(other)
    assert "**not reached**" in page.page(other)
    assert "12.3%" in page.readme_table(other)
    assert page.page(other) != page.page(result)


def test_the_template_has_no_result_of_its_own(page: ModuleType, result: dict[str, Any]) -> None:
    """No placeholder is left over, and no decimal number stands in the prose but those of the method."""
    assert "{{" not in page.page(result)
    prose = (REPORTS / "selection.template.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\d+\.\d+", prose)) <= {"0.75", "11.1", "0.5"}
    assert set(re.findall(r"(\d+) %", prose)) <= {"95", "36", "5"}


def test_the_json_is_whole(result: dict[str, Any]) -> None:
    """What was fitted on one side and judged on the other adds up."""
    sides = result["sides"]
    assert result["develop"]["photos"] == sides["develop"]
    assert result["report"]["photos"] == sides["report"]
    best = max(row["top1"] for row in result["report"]["rows"] if row["kind"] == "single")
    for row in result["report"]["rows"]:
        if "beside_best" in row:
            beside = row["beside_best"]
            assert beside["difference"] == pytest.approx(
                (beside["gained"] - beside["lost"]) / sides["report"], abs=1e-4
            )
            assert row["top1"] - best == pytest.approx(beside["difference"], abs=2e-4)
            assert beside["low"] <= beside["difference"] <= beside["high"]


def test_the_command_is_one_that_exists(result: dict[str, Any]) -> None:
    tool, command, *_ = result["command"].split()
    assert (REPOSITORY / tool).is_file()
    assert f'"{command}"' in (REPOSITORY / "tools" / "benchmarks" / "__main__.py").read_text(encoding="utf-8")
    assert Path(result["command"].split()[-1]) == Path("tools/reports/selection.json")
