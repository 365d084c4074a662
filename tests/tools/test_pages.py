"""Pages with measured numbers are what their scripts make of the raw JSON beside them: nobody has typed a number.

Not here: selection.md and sources.md, which have tests of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

REPORTS = REPOSITORY / "tools" / "reports"


def render(script: str, *arguments: str | Path) -> None:
    """Run the command that the page names, on the raw JSON of the repository."""
    done = subprocess.run(
        [sys.executable, str(REPORTS / script), *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("profiling.py", ["--render"]), ("finetuning.py", []), ("mutants.py", []), ("taught.py", [])],
)
def test_a_page_and_its_pictures_are_made_of_their_json(script: str, arguments: list[str], tmp_path: Path) -> None:
    render(script, *arguments, "--out", tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert Path(script).with_suffix(".md") in made
    for file in made:
        assert (REPORTS / file).read_bytes() == (tmp_path / file).read_bytes(), f"{file}: run {script} again"
    shown = re.findall(r"\]\(([^)#:]+)\)", (tmp_path / Path(script).with_suffix(".md")).read_text(encoding="utf-8"))
    assert {Path(name) for name in shown} == {file for file in made if file.suffix != ".md"}


def test_tests_notice_mistakes_and_each_that_they_do_not_has_a_reason() -> None:
    files = json.loads((REPORTS / "mutants.json").read_text(encoding="utf-8"))
    assert sum(one["killed"] for one in files.values()) >= 0.85 * sum(one["mutants"] for one in files.values())
    for file, one in files.items():
        assert (REPOSITORY / file).is_file()
        assert one["killed"] + len(one["survivors"]) == one["mutants"]
        assert all(survivor["reason"] for survivor in one["survivors"]), file


def test_readme_s_tables_are_made_of_their_json(tmp_path: Path) -> None:
    render("readme.py", "--out", tmp_path / "README.md")
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8") == readme, "run tools/reports/readme.py again"
    assert readme.count("<!-- end of ") == 13


def test_readme_says_where_each_report_is_made_and_none_is_left_out() -> None:
    """Every bench and every page of tools/reports stands in the table, and what stands there exists."""
    from benchmarks.__main__ import RUN

    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## What is measured, and where")[2].partition("**Not measured**")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")][1:]
    commands = " ".join(row[-1] for row in rows)
    assert {name for name in RUN if f"bench {name}`" not in commands and f"`{name}`" not in commands} == set()
    pages = set(re.findall(r"\]\((tools/reports/\S+\.md)\)", table))
    reports = REPOSITORY / "tools" / "reports"
    assert pages == {f"tools/reports/{page.name}" for page in reports.glob("*.md") if ".template" not in page.name}
    for name in re.findall(r"`(\w+\.json)`", table):
        assert (reports / name).is_file(), name
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in readme.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", readme)) <= headings


def test_another_number_in_the_json_is_another_page(tmp_path: Path) -> None:
    """What the comparison above rests on: numbers come from the JSON, not from the template."""
    raw = json.loads((REPORTS / "profiling.json").read_text(encoding="utf-8"))
    raw["reports"]["mobilenet_v2"]["layers_sum"]["sum_ms"] = 1234.5678
    (tmp_path / "raw.json").write_text(json.dumps(raw), encoding="utf-8")
    render("profiling.py", "--render", "--raw", tmp_path / "raw.json", "--out", tmp_path)
    assert "1234.568" in (tmp_path / "profiling.md").read_text(encoding="utf-8")


def test_energy_is_drawn_where_it_was_measured_and_never_made_up(tmp_path: Path) -> None:
    drawn = (REPORTS / "profiling" / "comparison.svg").read_text(encoding="utf-8")
    assert "No power sensor could be read" in drawn
    assert "energy per image" not in drawn
    raw = json.loads((REPORTS / "profiling.json").read_text(encoding="utf-8"))
    for number, row in enumerate(raw["compare"]):
        row["energy_mj"] = 12.5 + number
    (tmp_path / "raw.json").write_text(json.dumps(raw), encoding="utf-8")
    render("profiling.py", "--render", "--raw", tmp_path / "raw.json", "--out", tmp_path)
    powered = (tmp_path / "profiling" / "comparison.svg").read_text(encoding="utf-8")
    assert "energy per image, mJ" in powered
    assert "No power sensor" not in powered
    page = (tmp_path / "profiling.md").read_text(encoding="utf-8")
    assert "| 12.5 |" in page
    assert "no power sensor" not in page


def test_rows_of_a_thousand_images_are_a_thousand_images() -> None:
    reports = json.loads((REPORTS / "profiling.json").read_text(encoding="utf-8"))["reports"]
    measured = {name: {asked: row["images"] for asked, row in one["online"].items()} for name, one in reports.items()}
    assert measured == {name: {"10": 10, "100": 100, "1000": 1000} for name in reports}


def test_runs_of_fine_tuning_are_those_that_the_page_names() -> None:
    targets = json.loads((REPORTS / "finetuning.json").read_text(encoding="utf-8"))["targets"]
    for target in targets:
        for run in target["runs"]:
            asked, tuned = run["asked"], run["report"]["finetune"]
            assert (tuned["layers"], tuned["multiplier"], tuned["epochs"]) == (
                asked["layers"],
                asked["multiplier"],
                asked["epochs"],
            )
