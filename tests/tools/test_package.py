"""What tools/package builds, without its dependencies: those are fetched in tests/booted/test_package.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

sys.path.append(str(REPOSITORY / "tools"))
import environment_tree
from check_wheels import TARGETS
from debian_package import DebianPackage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOTH = pytest.mark.parametrize("target", [TARGETS["debian12"], TARGETS["pi"]], ids=["amd64", "arm64"])


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with edged's wheel and its sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def tree(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with edged alone."""
    folder = tmp_path_factory.mktemp("environment") / "tree"
    environment_tree.make(TARGETS["pi"], next(distributions.glob("*.whl")), [], folder)
    return folder


@pytest.fixture(scope="module")
def package(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian package of it."""
    return make_package(tree, tmp_path_factory.mktemp("package"))


def make_package(tree: Path, folder: Path) -> Path:
    """Make a Debian package of a copy of an environment."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    shutil.copytree(tree, folder / "tree", symlinks=True)
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    try:
        return DebianPackage("arm64", "3.11", "1.2.3", "4").make(folder / "tree", folder / "root", folder)
    finally:
        del os.environ["SOURCE_DATE_EPOCH"]
        if before is not None:
            os.environ["SOURCE_DATE_EPOCH"] = before


def said_by(*command: str | Path) -> str:
    """Return what a command that must succeed prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_sdist_holds_the_unit_and_all_that_a_wheel_is_made_of(distributions: Path, tmp_path: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path)
    (source,) = tmp_path.iterdir()
    for name in ("edged.service", "edged.sysusers", "edged.tmpfiles", "README.md"):
        assert (source / "systemd" / name).read_bytes() == (REPOSITORY / "systemd" / name).read_bytes()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == next(distributions.glob("*.whl")).read_bytes()


@BOTH
def test_all_that_a_package_needs_is_pinned_by_hashes(target: object) -> None:
    assert isinstance(target, type(TARGETS["pi"]))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [line for extra in environment_tree.EXTRAS for line in project["optional-dependencies"][extra]]
    pins = environment_tree.pins_of(target)
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        if target.wants(requirement.marker):
            line = pins[canonicalize_name(requirement.name)]
            pin = Requirement(line.partition(" ")[0])
            assert requirement.specifier.contains(next(iter(pin.specifier)).version), requirement
            assert ";" not in line
            assert "--hash=sha256:" in line


def test_an_environment_tells_nothing_of_where_it_was_made(tree: Path, distributions: Path) -> None:
    names = [str(tree.parent), str(distributions), str(REPOSITORY), sys.prefix]
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in files:
        content = path.read_bytes()
        assert not [name for name in names if name.encode() in content], path
    assert not [path for path in files if path.name == "direct_url.json" or "__pycache__" in path.parts]
    settings = (tree / "pyvenv.cfg").read_text()
    assert settings == "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
    assert str((tree / "bin/python3").readlink()) == "/usr/bin/python3.11"


def test_a_program_runs_the_python_beside_it_wherever_it_stands(tree: Path, tmp_path: Path) -> None:
    moved = tmp_path / "a place" / "of its own"
    shutil.copytree(tree / "bin", moved, symlinks=True)
    (moved / "python3").unlink()
    (moved / "python3").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    (moved / "python3").chmod(0o755)
    (tmp_path / "link").symlink_to(moved / "edged")
    (tmp_path / "another").symlink_to("link")
    program, isolated, _, code, *arguments = said_by(tmp_path / "another", "run", "a b").splitlines()
    assert (program, isolated, arguments) == (str(moved / "python3"), "-I", ["run", "a b"])
    assert said_by(sys.executable, "-c", code, "--help").startswith("usage: edged ")
    assert "edged.ctl" in (moved / "edgectl").read_text()


def test_a_package_holds_what_a_debian_expects_of_a_service(package: Path) -> None:
    listing = [line.split(maxsplit=5) for line in said_by("dpkg-deb", "-c", package).splitlines()]
    assert {owner for _, owner, *_ in listing} == {"root/root"}
    modes = {line[5].partition(" -> ")[0]: line[0] for line in listing}
    site = "./opt/edged/package/lib/python3.11/site-packages/edged"
    for name in (
        *("./lib/systemd/system/edged.service", "./usr/lib/sysusers.d/edged.conf", "./usr/lib/tmpfiles.d/edged.conf"),
        *("./etc/edged/edged.toml", "./usr/share/man/man1/edged.1.gz", "./usr/share/man/man1/edgectl.1.gz"),
        *("./usr/share/man/man5/edged.toml.5.gz", "./usr/share/bash-completion/completions/edged"),
        *("./usr/share/bash-completion/completions/edgectl", "./usr/share/zsh/vendor-completions/_edged"),
        *("./usr/share/doc/edged/copyright", "./usr/share/doc/edged/README.md", f"{site}/__init__.py"),
        *("./opt/edged/package/share/edged.service", f"{site}/shipped/models/mobilenet_v2/manifest.json"),
    ):
        assert modes[name] == "-rw-r--r--", name
    links = {line[5].partition(" -> ")[0]: line[5].partition(" -> ")[2] for line in listing if " -> " in line[5]}
    assert links["./usr/bin/edged"] == "/opt/edged/bin/edged"
    assert links["./opt/edged/bin"] == "live/bin"
    # Nothing of what runs is dpkg's to replace.
    assert not [name for name in modes if name.startswith(("./opt/edged/live", "./opt/edged/tree"))]


def test_a_package_says_what_it_needs(package: Path, tmp_path: Path) -> None:
    assert package.name == "edged_1.2.3-4_arm64.deb"
    fields = dict(line.split(": ", 1) for line in said_by("dpkg-deb", "-f", package).splitlines() if line[0] != " ")
    assert (fields["Version"], fields["Architecture"]) == ("1.2.3-4", "arm64")
    assert "python3 (>= 3.11), python3 (<< 3.12)" in fields["Depends"]
    assert int(fields["Installed-Size"]) > 5000
    said_by("dpkg-deb", "-e", package, tmp_path / "control")
    assert (tmp_path / "control/conffiles").read_text() == "/etc/edged/edged.toml\n"
    said_by("dpkg-deb", "-x", package, tmp_path / "root")
    shutil.copy(tmp_path / "control/md5sums", tmp_path / "root")
    subprocess.run(["md5sum", "--check", "--quiet", "md5sums"], cwd=tmp_path / "root", check=True)
    for script in ("preinst", "postinst", "prerm", "postrm"):
        assert os.access(tmp_path / "control" / script, os.X_OK)
        said_by("sh", "-n", tmp_path / "control" / script)


def test_a_package_is_the_same_each_time(package: Path, tree: Path, tmp_path: Path) -> None:
    assert make_package(tree, tmp_path).read_bytes() == package.read_bytes()


def test_lintian_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
