"""One booted machine for all tests of this folder, and what is told on its broker."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.booted.machine import Machine, NotPossibleError, check_possible
from tests.booted.service import CONFIG, Service


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted Debian with edged installed as systemd/README.md says; skips, saying why, where there can be none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "edged-matrix")
    folder = Path(tempfile.mkdtemp(prefix="edged-booted-"))
    one = Machine(folder)
    try:
        try:
            check_possible()
            one.make(cache)
            one.boot()
        except NotPossibleError as error:
            pytest.skip(f"not checked under a booted systemd: {error}")
        one.install(CONFIG)
        yield one
    finally:
        one.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service, running with `CONFIG`; a test may change its configuration and its unit."""
    one = Service(machine)
    one.begin()
    yield one
    one.end()
