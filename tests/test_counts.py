"""The line in which `tools/test` tells how many tests were skipped, and why."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SUITE = """
import pytest

@pytest.fixture
def broken():
    raise OSError

@pytest.mark.parametrize("number", range(3))
def test_here(number): pass

@pytest.mark.parametrize("number", range(2))
def test_without_a_camera(number): pytest.skip("needs a camera")

@pytest.mark.skip(reason="needs a broker, and a login")
def test_without_a_broker(): pass

def test_fails(): assert False

def test_cannot_start(broken): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_skips_are_counted_by_reason(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text(
        'import pytest\npytest.importorskip("no_such_module", reason="needs that")'
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-c", tmp_path / "pytest.ini", "-p", "tests.conftest", "-n", workers]
    command += ["-p", "no:cacheprovider", "--counts", tmp_path / "counts", tmp_path]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 1
    counted, _, reasons = (tmp_path / "counts").read_text().partition(": ")
    assert counted == "3 passed, 2 failed, 4 skipped"
    assert reasons.startswith("2 needs a camera; ")
    assert sorted(reasons.strip().split("; ")) == ["1 needs a broker, and a login", "1 needs that", "2 needs a camera"]
