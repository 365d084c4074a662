"""Prove that every base dependency of edged, and theirs, is a wheel that loads on the machines edged is meant for.

For each target pip downloads, with `--only-binary=:all:` and that target's platforms, first what `pip install edged`
would take today and then the versions that the target's constraints file pins. Tags are not believed: what each library
in a wheel asks of the C and C++ libraries is read from it (wheel_needs.py) and compared with what the target has.
Environment markers are evaluated for the target here, because pip evaluates those of wheels that it downloads for
another machine with its own. Extras (systemd-python and jetson-stats are built on the device) are not looked at.
"""

import argparse
import json
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

from wheel_needs import System, unmet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


class Target(NamedTuple):
    """A kind of machine: its CPython, its kernel's release, and what its C and C++ libraries have."""

    what: str
    python: str
    machine: str
    release: str
    system: System
    pins: str = "constraints.txt"

    @property
    def platforms(self) -> list[str]:
        """The platform tags that pip may take, newest glibc first."""
        perennial = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.system.glibc[1], 16, -1)]
        return [*perennial, f"manylinux2014_{self.machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """The marker variables in which the targets differ from each other, and from this machine."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "platform_release": self.release,
            "sys_platform": "linux",
            "extra": "",
        }

    @property
    def facts(self) -> dict[str, str]:
        """What a report says of it."""
        glibc = ".".join(map(str, self.system.glibc))
        pins = f"tools/{self.pins}"
        return {"what": self.what, "python": self.python, "machine": self.machine, "glibc": glibc, "pins": pins}

    def wants(self, marker: Marker | None, extra: str = "") -> bool:
        """Whether a requirement with this marker applies on the target."""
        return marker is None or marker.evaluate({**self.environment, "extra": extra})


# The libraries are those of each distribution's newest libc6 and libstdc++6.
UBUNTU_18 = System(glibc=(2, 27), glibcxx=(3, 4, 25), cxxabi=(1, 3, 11))
UBUNTU_20 = System(glibc=(2, 31), glibcxx=(3, 4, 28), cxxabi=(1, 3, 12))
UBUNTU_22 = System(glibc=(2, 35), glibcxx=(3, 4, 30), cxxabi=(1, 3, 13))
UBUNTU_24 = System(glibc=(2, 39), glibcxx=(3, 4, 33), cxxabi=(1, 3, 15))
DEBIAN_12 = System(glibc=(2, 36), glibcxx=(3, 4, 30), cxxabi=(1, 3, 13))
DEBIAN_13 = System(glibc=(2, 41), glibcxx=(3, 4, 33), cxxabi=(1, 3, 15))

TARGETS = {
    "jetpack4": Target(
        "JetPack 4.6 (TX2, Nano)", "3.10", "aarch64", "4.9.337-tegra", UBUNTU_18, "constraints-jetpack4.txt"
    ),
    "jetpack5": Target(
        "JetPack 5 (Xavier, Orin)", "3.10", "aarch64", "5.10.216-tegra", UBUNTU_20, "constraints-jetpack5.txt"
    ),
    "jetpack6": Target("JetPack 6 (Orin)", "3.10", "aarch64", "5.15.148-tegra", UBUNTU_22),
    "pi": Target("Raspberry Pi OS 12", "3.11", "aarch64", "6.12.25+rpt-rpi-v8", DEBIAN_12),
    "debian12": Target("Debian 12", "3.11", "x86_64", "6.1.0-35-amd64", DEBIAN_12),
    "ubuntu22": Target("Ubuntu 22.04", "3.10", "x86_64", "5.15.0-140-generic", UBUNTU_22),
    "ubuntu24": Target("Ubuntu 24.04", "3.12", "x86_64", "6.8.0-60-generic", UBUNTU_24),
    "debian13": Target("Debian 13", "3.13", "x86_64", "6.12.30-amd64", DEBIAN_13),
}


class UnresolvedError(Exception):
    """pip found no set of wheels, or one that does not load; the text is what was said about it."""


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


def requirements_of(wheel: Path, target: Target, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a wheel's metadata asks for on the target, for itself and for these extras."""
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    parsed = map(Requirement, metadata.get_all("Requires-Dist", []))
    return [one for one in parsed if any(target.wants(one.marker, extra) for extra in ("", *extras))]


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
    """The versions that the target's constraints file pins on it, by canonical name."""
    text = (ROOT / "tools" / target.pins).read_text()
    lines = [line.removesuffix("\\") for line in text.splitlines() if line and line[0] not in " #"]
    pins = [pin for pin in map(Requirement, lines) if target.wants(pin.marker)]
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}


def print_wheels(wheels: list[Path]) -> None:
    """Print name, version, tag and size of each wheel, and the sum."""
    for wheel in wheels:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        tag = "-".join(wheel.stem.split("-")[-3:])
        print(f"  {name:<24} {version!s:<12} {wheel.stat().st_size / 1e6:7.2f} MB  {tag}")
    print(f"  {len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:.1f} MB")


def require_loadable(wheels: list[Path], target: Target) -> None:
    """Read what the libraries in the wheels ask for.

    Raises:
        UnresolvedError: The target lacks some of it.
    """
    lines = [f"  {wheel.name}: {need}" for wheel in wheels for need in unmet(wheel, target.system)]
    if lines:
        raise UnresolvedError("\n".join(["  wheels that pip takes and the loader refuses:", *lines]))


def check(target: Target, base: list[Requirement]) -> dict[str, dict[str, str]]:
    """Resolve the newest and the pinned versions for one target, print them, and look into them.

    Returns:
        "newest" and "pinned" → name → version; all of them load.

    Raises:
        UnresolvedError: See `resolve` and `require_loadable`.
    """
    print(f"{target.what}: Python {target.python}, {target.machine}, glibc {target.facts['glibc']}", flush=True)
    pins = pins_for(target)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "wheels")
        folder.mkdir()
        wheels = resolve(base, target, folder, None)
        print_wheels(wheels)
        require_loadable(wheels, target)
        newest = versions_of(wheels)
        if all(pins.get(canonicalize_name(name)) == f"=={version}" for name, version in newest.items()):
            print(f"  the same as pinned in tools/{target.pins}")
            return {"newest": newest, "pinned": newest}
        constraints = Path(temporary, "pins.txt")
        constraints.write_text("".join(f"{name}{version}\n" for name, version in pins.items()))
        print(f"  pinned in tools/{target.pins}:", flush=True)
        wheels = resolve(base, target, folder, constraints)
        print_wheels(wheels)
        require_loadable(wheels, target)
        unpinned = [wheel.name for wheel in wheels if parse_wheel_filename(wheel.name)[0] not in pins]
        if unpinned:
            raise UnresolvedError(f"not pinned, run tools/lock: {', '.join(unpinned)}")
        return {"newest": newest, "pinned": versions_of(wheels)}


def versions_of(wheels: Iterable[Path]) -> dict[str, str]:
    """Return name → version of wheels."""
    return {str(name): str(version) for name, version, *_ in (parse_wheel_filename(wheel.name) for wheel in wheels)}


def main() -> int:
    """Check the named targets, or the oldest Jetson; exit status 1 where one gets no wheels that load."""
    parser = argparse.ArgumentParser(prog="tools/check_wheels", description=(__doc__ or "").partition("\n")[0])
    choices = f"{', '.join(TARGETS)}, or all (default: jetpack4)"
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=choices)
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the versions there, by target: JSON")
    args = parser.parse_args()
    names = args.targets or ["jetpack4"]
    names = list(TARGETS) if names == ["all"] else names
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"unknown target {', '.join(unknown)}: choose from {', '.join(TARGETS)}, all")
    base = [*map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])]
    failed = []
    found: dict[str, dict[str, object]] = {}
    for name in names:
        try:
            found[name] = {**TARGETS[name].facts, **check(TARGETS[name], base)}
        except UnresolvedError as error:
            print(f"  does not resolve to wheels that load:\n{error}", flush=True)
            failed.append(name)
    if args.into is not None:
        args.into.write_text(json.dumps(found, indent=1) + "\n")
    print(f"failed: {', '.join(failed)}" if failed else f"all resolve to wheels that load: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
