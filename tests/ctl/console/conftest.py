"""One Chromium for all tests of the pages: each page has a context of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ctl.console.browser import chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A browser that runs until the last of these tests has ended."""
    with chromium() as running:
        yield running
