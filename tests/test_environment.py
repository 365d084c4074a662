"""What configures edged and edgectl where the tests are run does not reach them."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY

_NOBODYS = {"EDGED_MODEL__TOP": "none", "EDGECTL_DEVICE": "nobody", "edged_device__id": "nobody"}
"""pydantic-settings takes names in small letters, too."""


def test_no_variable_of_ours_is_set() -> None:
    assert [name for name in os.environ if name.upper().startswith(("EDGED_", "EDGECTL_"))] == []


def test_variables_of_whoever_runs_the_tests_do_not_reach_them() -> None:
    alone = f"{__file__}::{test_no_variable_of_ours_is_set.__name__}"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", alone]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | _NOBODYS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
