"""Prove that every base dependency of edged, and theirs, resolves to a wheel on the machines edged is meant for.

For each target pip downloads, with `--only-binary=:all:` and that target's platforms, first what `pip install edged`
would take today and then the versions that tools/constraints.txt pins. Environment markers are evaluated for the
target here, because pip evaluates those of wheels that it downloads for another machine with its own.
Extras (systemd-python and jetson-stats are built on the device) are not looked at.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tools/constraints.txt"


class Target(NamedTuple):
    """A kind of machine: its CPython and the newest glibc that wheels may ask for."""

    what: str
    python: str
    machine: str
    glibc_minor: int

    @property
    def platforms(self) -> list[str]:
        """The platform tags that pip may take, newest glibc first."""
        perennial = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc_minor, 16, -1)]
        return [*perennial, f"manylinux2014_{self.machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """The marker variables in which the targets differ from each other, and from this machine."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "extra": "",
        }

    def wants(self, marker: Marker | None) -> bool:
        """Whether a requirement with this marker applies on the target."""
        return marker is None or marker.evaluate(self.environment)


TARGETS = {
    "jetson": Target("Jetson TX2, JetPack 4.6", "3.10", "aarch64", 27),
    "pi": Target("Raspberry Pi OS 12", "3.11", "aarch64", 36),
    "debian12": Target("Debian 12", "3.11", "x86_64", 36),
    "ubuntu22": Target("Ubuntu 22.04", "3.10", "x86_64", 35),
    "ubuntu24": Target("Ubuntu 24.04", "3.12", "x86_64", 39),
    "debian13": Target("Debian 13", "3.13", "x86_64", 41),
}


class UnresolvedError(Exception):
    """pip found no set of wheels; the text is what it said about it."""


def download(requirements: Iterable[str], target: Target, folder: Path, constraints: Path | None) -> None:
    """Let pip resolve `requirements` for `target` and put the wheels into `folder`."""
    version = target.python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--python-version", target.python, "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")]
    command += [f"--platform={platform}" for platform in target.platforms]
    command += ["--constraint", str(constraints)] if constraints else []
    result = subprocess.run([*command, *requirements], check=False, stdout=subprocess.DEVNULL, stderr=-1, text=True)
    if result.returncode:
        raise UnresolvedError("\n".join(line for line in result.stderr.splitlines() if line.startswith("ERROR")))


def requirements_of(wheel: Path, target: Target) -> list[Requirement]:
    """What a wheel's metadata asks for on the target."""
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    parsed = map(Requirement, metadata.get_all("Requires-Dist", []))
    return [requirement for requirement in parsed if target.wants(requirement.marker)]


def plain(requirement: Requirement) -> str:
    """The requirement without its marker."""
    return f"{requirement.name}{requirement.specifier}"


def resolve(base: list[Requirement], target: Target, folder: Path, constraints: Path | None) -> list[Path]:
    """Download until all that the wheels ask for on the target is there; return the wheels reached from `base`."""
    asked = {plain(requirement) for requirement in base if target.wants(requirement.marker)}
    while True:
        for old in folder.glob("*.whl"):
            old.unlink()
        download(sorted(asked), target, folder, constraints)
        wheels = {parse_wheel_filename(wheel.name)[0]: wheel for wheel in folder.glob("*.whl")}
        reached: dict[NormalizedName, Path] = {}
        waiting = [requirement for requirement in base if target.wants(requirement.marker)]
        absent = set()
        while waiting:
            requirement = waiting.pop()
            name = canonicalize_name(requirement.name)
            if name not in wheels:
                absent.add(plain(requirement))
            elif name not in reached:
                reached[name] = wheels[name]
                waiting += requirements_of(wheels[name], target)
        if not absent:
            return [reached[name] for name in sorted(reached)]
        asked |= absent


def pins_for(target: Target) -> dict[NormalizedName, str]:
    """The versions that the constraints file pins on the target, by canonical name."""
    lines = [line.removesuffix("\\") for line in PINS.read_text().splitlines() if line and line[0] not in " #"]
    pins = [pin for pin in map(Requirement, lines) if target.wants(pin.marker)]
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}


def print_wheels(wheels: list[Path]) -> None:
    """Print name, version, tag and size of each wheel, and the sum."""
    for wheel in wheels:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        tag = "-".join(wheel.stem.split("-")[-3:])
        print(f"  {name:<24} {version!s:<12} {wheel.stat().st_size / 1e6:7.2f} MB  {tag}")
    print(f"  {len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:.1f} MB")


def check(target: Target, base: list[Requirement]) -> None:
    """Resolve the newest and the pinned versions for one target and print them."""
    print(f"{target.what}: Python {target.python}, {target.machine}, glibc 2.{target.glibc_minor}", flush=True)
    pins = pins_for(target)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "wheels")
        folder.mkdir()
        wheels = resolve(base, target, folder, None)
        print_wheels(wheels)
        versions = {name: f"=={version}" for name, version, *_ in (parse_wheel_filename(w.name) for w in wheels)}
        if all(pins.get(name) == version for name, version in versions.items()):
            print("  the same as pinned in tools/constraints.txt")
            return
        constraints = Path(temporary, "pins.txt")
        constraints.write_text("".join(f"{name}{version}\n" for name, version in pins.items()))
        print("  pinned in tools/constraints.txt:", flush=True)
        wheels = resolve(base, target, folder, constraints)
        print_wheels(wheels)
        unpinned = [wheel.name for wheel in wheels if parse_wheel_filename(wheel.name)[0] not in pins]
        if unpinned:
            raise UnresolvedError(f"not pinned, run tools/lock: {', '.join(unpinned)}")


def main() -> int:
    """Check the named targets, or the Jetson; exit status 1 where one does not resolve."""
    parser = argparse.ArgumentParser(prog="tools/check_wheels", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}, or all (default: jetson)")
    names = parser.parse_args().targets or ["jetson"]
    names = list(TARGETS) if names == ["all"] else names
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"unknown target {', '.join(unknown)}: choose from {', '.join(TARGETS)}, all")
    base = [*map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])]
    failed = []
    for name in names:
        try:
            check(TARGETS[name], base)
        except UnresolvedError as error:
            print(f"  does not resolve to wheels:\n{error}", flush=True)
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else f"all resolve to wheels: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
