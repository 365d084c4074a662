"""A virtual environment with edged and its pinned dependencies, for a machine that may be another one than this.

It is laid down with pip from wheels and nothing in it is run, so that one for arm64 is made on amd64. Its Python is the
distribution's own; it may stand in any folder, since its programs look for that Python beside themselves.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from check_wheels import Target, UnresolvedError, require_loadable, requirements_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PINS = ("constraints.txt", "constraints-test.txt")
EXTRAS = ("demo", "signing", "metrics", "console")
"""Of edged's, those that are small, and pinned: whoever installs a package cannot add them with pip."""
PROGRAMS = {"edged": "edged.cli", "edgectl": "edged.ctl"}
"""Command → where its `main` is."""
LAUNCHER = """\
#!/bin/sh
# Runs the Python beside this file, wherever this folder stands and by whatever link it was started.
here=$(dirname -- "$(readlink -f -- "$0")")
exec "$here/python3" -I -c 'import sys; from {module} import main; sys.exit(main())' "$@"
"""
SETTINGS = """\
home = /usr/bin
include-system-site-packages = false
version = {python}
"""
SYSTEM_MODULES = {"systemd": "/usr/lib/python3/dist-packages/systemd"}
"""Modules of the distribution that are in sight where they are installed, each alone. What writes to the journal has to
be built against the system's library, so it is not among the wheels."""
LEFT_OUT = ("ai_edge_litert/vendors", "ai_edge_litert/tools")
"""Compilers for accelerators that edged does not use. Their libraries would be looked for below the current folder."""


def version_of(wheel: Path) -> str:
    """Return the version that a wheel's name tells."""
    return str(parse_wheel_filename(wheel.name)[1])


def pins_of(target: Target) -> dict[NormalizedName, str]:
    """Return what is pinned for a target: name → a line for pip with the version and its hashes."""
    pins: dict[NormalizedName, str] = {}
    for name in PINS:
        text = (ROOT / "tools" / name).read_text()
        for block in re.findall(r"^[a-z0-9].*(?:\n[ \t].*)*", text, flags=re.MULTILINE):
            head, _, hashes = block.partition("\\\n")
            pin = Requirement(head)
            if target.wants(pin.marker):
                pins[canonicalize_name(pin.name)] = f"{pin.name}{pin.specifier} \\\n{hashes}\n"
    return pins


def platform_options(target: Target) -> list[str]:
    """Return what tells pip to look at wheels with the target's eyes."""
    options = ["--only-binary=:all:", "--no-deps", "--python-version", target.python, "--implementation", "cp"]
    options += [f"--abi={abi}" for abi in (f"cp{target.python.replace('.', '')}", "abi3", "none")]
    return [*options, *(f"--platform={platform}" for platform in target.platforms)]


def pip(*arguments: str) -> None:
    """Run pip.

    Raises:
        UnresolvedError: It failed; the text is what it said.
    """
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise UnresolvedError("\n".join(line for line in done.stderr.splitlines() if line.startswith("ERROR")))


def names_in(requirements: list[Requirement]) -> set[tuple[NormalizedName, frozenset[str]]]:
    """Return what is required: names, each with the extras that are."""
    return {(canonicalize_name(one.name), frozenset(one.extras)) for one in requirements}


def fetch(target: Target, folder: Path) -> list[Path]:
    """Download the pinned wheels that edged with `EXTRAS` needs on a target, and look into them.

    pip evaluates the markers of what it fetches for another machine with this machine's values, so it is asked for one
    generation of dependencies after the other, without theirs.

    Raises:
        UnresolvedError: One is not pinned, cannot be had, or would not load on the target.
    """
    pins = pins_of(target)
    wheels: dict[NormalizedName, Path] = {}
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    asked = names_in([one for one in map(Requirement, lines) if target.wants(one.marker)])
    folder.mkdir(parents=True)
    while asked:
        missing = sorted({name for name, _ in asked} - wheels.keys())
        if unpinned := [name for name in missing if name not in pins]:
            raise UnresolvedError(f"not pinned, run tools/lock: {', '.join(unpinned)}")
        if missing:
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write("".join(pins[name] for name in missing))
                file.flush()
                pip("download", "--require-hashes", *platform_options(target), "--dest", str(folder), "-r", file.name)
        wheels |= {parse_wheel_filename(wheel.name)[0]: wheel for wheel in folder.glob("*.whl")}
        seen |= asked
        needed = [one for name, extras in asked for one in requirements_of(wheels[name], target, extras)]
        asked = names_in(needed) - seen
    chosen = [wheels[name] for name in sorted(wheels)]
    require_loadable(chosen, target)
    return chosen


def make(target: Target, edged: Path, wheels: list[Path], tree: Path) -> None:
    """Lay down a virtual environment in `tree`, which does not exist yet."""
    site = tree / f"lib/python{target.python}/site-packages"
    site.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as every:
        for wheel in (edged, *wheels):
            shutil.copy(wheel, every)
        # By name, since pip notes down the path of a file that it is given.
        names = [f"{name}=={version}" for name, version, *_ in (parse_wheel_filename(w.name) for w in (edged, *wheels))]
        pip(
            *("install", "--no-index", "--find-links", every, *platform_options(target)),
            *("--no-compile", "--target", str(site), *names),
        )
    for folder in ("bin", "share", "include", *LEFT_OUT):  # of the wheels' programs, those below alone are wanted
        shutil.rmtree(site / folder, ignore_errors=True)
    for path in sorted(site.rglob("*")):
        if path.name == "__pycache__":  # of another Python
            shutil.rmtree(path)
        elif path.is_file():
            path.chmod(0o644)  # imported or loaded, never started
    for module, place in SYSTEM_MODULES.items():
        (site / module).symlink_to(place)
    (tree / "pyvenv.cfg").write_text(SETTINGS.format(python=target.python))
    programs = tree / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"/usr/bin/python{target.python}")
    (programs / "python").symlink_to("python3")
    for name, module in PROGRAMS.items():
        (programs / name).write_text(LAUNCHER.format(module=module))
        (programs / name).chmod(0o755)
