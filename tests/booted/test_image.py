"""The container image of `tools/Containerfile`, on a Debian of debootstrap's: `tools/test --systemd`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.booted.machine import SUITE, NoRootError, Setup, base, last_words
from tests.conftest import REPOSITORY

# Without a container's own control groups: podman's runtimes refuse those of a machine that has both versions of them.
BUILD = ("podman", "build", "--no-cache", "--isolation", "chroot", "--network", "host")


@pytest.fixture
def debian() -> Iterator[str]:
    """Name of an image of the Debian that the package is made for; no registry is asked for one."""
    if shutil.which("podman") is None:
        pytest.skip("needs podman (apt install podman)")
    if os.geteuid() != 0:
        pytest.skip("building an image in a chroot needs root")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "edged-matrix")
    try:
        archive = base(SUITE, cache, Setup.read())
    except NoRootError as error:
        pytest.skip(f"no image was built: {error}")
    name = f"localhost/edged-test-{os.getpid()}-debian"
    done = subprocess.run(["podman", "import", archive, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield name
    subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=True)


def test_the_image_of_the_package_runs_the_demo(debian: str, built: Path, tmp_path: Path) -> None:
    image, started = f"{debian}-edged", f"{debian}-started"
    packages = tmp_path / "dist"
    packages.mkdir()
    (package,) = built.parent.glob("edged_*.deb")
    os.link(package, packages / package.name)
    try:
        told = podman_build(packages, REPOSITORY / "tools" / "Containerfile", image, "--build-arg", f"BASE={debian}")
        recipe = tmp_path / "Containerfile"
        recipe.write_text(f"FROM {image}\nRUN id --user --name && edged demo --seconds 10\n")
        told = podman_build(tmp_path / "dist", recipe, started)
        assert "edged" in told.splitlines(), told
        assert "Egyptian cat" in told
        assert " results arrived." in told
    finally:
        subprocess.run(["podman", "rmi", "--force", started, image], capture_output=True, check=False)


def podman_build(context: Path, recipe: Path, name: str, *options: str) -> str:
    """Build an image; return what was printed meanwhile."""
    command = [*BUILD, *options, "--tag", name, "--file", recipe, context]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, last_words(done.stdout + done.stderr)
    return done.stdout
