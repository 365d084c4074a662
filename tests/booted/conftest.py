"""One booted machine for all tests of this folder, and what is told on its broker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.booted.machine import Machine, NotPossibleError, check_possible, last_words
from tests.booted.service import CONFIG, Service
from tests.conftest import REPOSITORY


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


@pytest.fixture(scope="session")
def built() -> Iterator[Path]:
    """The Debian package of this checkout for this machine, unpacked; the packed one lies beside it."""
    folder = Path(tempfile.mkdtemp(prefix="edged-built-"))
    try:
        try:
            check_possible()
            yield build(folder)
        except NotPossibleError as error:
            pytest.skip(f"no Debian package was built: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build(folder: Path) -> Path:
    """Build the package of this checkout for this machine; return it unpacked."""
    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout
    command = [sys.executable, str(REPOSITORY / "tools/package.py"), "--arch", architecture.strip(), "--fast"]
    done = subprocess.run([*command, "--into", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode and "packing" not in done.stderr:
        raise NotPossibleError(f"the pinned wheels cannot be had: {last_words(done.stderr)}")
    assert done.returncode == 0, done.stderr
    (package,) = folder.glob("edged_*.deb")
    subprocess.run(["dpkg-deb", "-R", package, folder / "root"], check=True)
    return folder / "root"
