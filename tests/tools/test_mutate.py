"""What `tools/mutate.py` changes in a source file, and that a test which notices it counts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

TOOLS = REPOSITORY / "tools"


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", TOOLS / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def changes(mutants: ModuleType, source: str) -> list[str]:
    return [f"{one.was} → {one.became}" for one in mutants.mutants(source)]


def test_each_mutant_is_one_mistake(mutants: ModuleType) -> None:
    source = "def f(a, b=1):\n    if a < 2.0 and not b:\n        log.info('%d', 3)\n    return min(a, key=g)\n"
    assert changes(mutants, source) == [
        "1 → 2",
        "1 → 0",
        "a < 2.0 and (not b) → a < 2.0 or not b",
        "a < 2.0 and (not b) → a <= 2.0 and (not b)",
        "a < 2.0 and (not b) → a >= 2.0 and (not b)",
        "a < 2.0 and (not b) → a < 4.0 and (not b)",
        "a < 2.0 and (not b) → a < 1.0 and (not b)",
        "a < 2.0 and (not b) → a < 2.0 and b",
        "return min(a, key=g) → return None",
        "return min(a, key=g) → return min(a)",
        "return min(a, key=g) → return max(a, key=g)",
    ]
    before = compile(source, "f", "exec").co_code
    for one in mutants.mutants(source):
        assert compile(one.source, "f", "exec") is not None
        assert "log.info('%d', 3)" in one.source
    assert compile(source, "f", "exec").co_code == before


def test_wording_and_typing_stay_as_they_are(mutants: ModuleType) -> None:
    source = '''
"""A docstring with 1 < 2."""
size: Annotated[int, 3]
@cache(4)
def f(a: Literal[5]) -> Literal[6]:
    """Seven."""
    assert a < 7
    raise ValueError(f"{a + 8}")
'''
    assert changes(mutants, source) == []


def test_long_lines_are_shown_where_they_differ(mutants: ModuleType) -> None:
    words = ", ".join(f"'word{number}'" for number in range(40))
    (shown, *_) = changes(mutants, f"x = ({words}, a * b, {words})")
    assert len(shown) < 250
    assert "a * b" in shown
    assert "a / b" in shown


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git, which lists a checkout's files")
def test_what_no_test_notices_is_reported_and_a_reason_stays(tmp_path: Path) -> None:
    """In a checkout of its own: one file, one test that looks at one of two functions."""
    checkout = tmp_path / "checkout"
    for folder in ("tools", "edged/room", "tests/room"):
        (checkout / folder).mkdir(parents=True)
    for package in ("edged", "edged/room", "tests", "tests/room"):
        (checkout / package / "__init__.py").touch()
    for tool in ("mutate.py", "mutants.py"):
        (checkout / "tools" / tool).write_text((TOOLS / tool).read_text())
    source = "def seen(a):\n    return a + 1\n\n\ndef unseen(a):\n    return a - 1\n"
    (checkout / "edged/room/sums.py").write_text(source)
    (checkout / "tests/room/test_sums.py").write_text(
        "from edged.room.sums import seen, unseen\n\n\n"
        "def test_seen():\n    assert seen(2) == 3\n\n\ndef test_unseen():\n    unseen(2)\n"
    )
    (checkout / "edged/room/most.py").write_text("MOST = 12\n")
    (checkout / "edged/room/using.py").write_text("from edged.room import most\n\nTWICE = 2 * most.MOST\n")
    (checkout / "tests/room/test_using.py").write_text(
        "def test_twice():\n    from edged.room.using import TWICE\n\n    assert TWICE == 24\n"
    )
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    report = tmp_path / "report.json"
    command = [sys.executable, "tools/mutate.py", "edged/room/sums.py", "--into", str(report)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    found = json.loads(report.read_text())["edged/room/sums.py"]
    assert (found["mutants"], found["killed"]) == (8, 4)
    assert {one["line"] for one in found["survivors"]} == {6}
    found["survivors"][0]["reason"] = "nobody looks"
    report.write_text(json.dumps({"edged/room/sums.py": found}))
    subprocess.run([*command, "--survivors"], cwd=checkout, env=environment, check=True, capture_output=True)
    assert json.loads(report.read_text())["edged/room/sums.py"] == found
    assert (checkout / "edged/room/sums.py").read_text() == source
    command[2] = "edged/room/most.py"
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    found = json.loads(report.read_text())["edged/room/most.py"]
    assert (found["mutants"], found["killed"]) == (2, 2), "noticed by way of another module that imports it"
