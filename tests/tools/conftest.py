"""Tests of what lies in tools/, which is no part of the package."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
