"""A device of the command's own: a configuration whose state folder is empty."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(f'[model]\ntop = 3\nthreads = 1\n[storage]\nstate_dir = "{tmp_path / "state"}"\n')
    return path
