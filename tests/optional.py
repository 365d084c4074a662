"""The environment with TensorFlow, jetson-stats and systemd-python that `tools/test` makes beside that of the tests.

TensorFlow wants other versions of some libraries than a device gets, and is imported by no process that the tests run
in. Code for that environment is handed to its interpreter; edged comes from this checkout.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_BESIDE = Path(sys.prefix) / "optional" / "bin" / "python"


@functools.cache
def python_with(module: str) -> str | None:
    """Return an interpreter that has a module: that of the optional environment, else this one.

    A folder of that name, such as the checkout's own `systemd/`, can be imported too, but has no origin.
    """
    for python in (str(_BESIDE), sys.executable):
        code = f"import importlib.util, sys; s = importlib.util.find_spec({module!r}); sys.exit(not (s and s.origin))"
        if Path(python).is_file() and subprocess.run([python, "-c", code], check=False).returncode == 0:
            return python
    return None


def needs(module: str, package: str, *, where: str = "") -> pytest.MarkDecorator:
    """Skip a test where no interpreter has a module, naming the package."""
    reason = f"needs {package}, which tools/test installs where it can be had{where}"
    return pytest.mark.skipif(python_with(module) is None, reason=reason)


def environment() -> dict[str, str]:
    """Return this process' variables, with edged from this checkout and without those that configure it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGED_")}
    return kept | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS…` in an interpreter that has `module`; output is captured, a failure is the caller's."""
    python = python_with(module)
    assert python is not None
    return subprocess.run(
        [python, *arguments], capture_output=True, text=True, env=environment() | variables, check=False
    )


needs_tensorflow = needs("tensorflow", "TensorFlow", where=": Python 3.10 and 3.11")
needs_jtop = needs("jtop", "jetson-stats")
needs_systemd = needs("systemd", "systemd-python")
