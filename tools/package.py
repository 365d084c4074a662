"""Build what edged is installed of: wheels, an sdist, and Debian packages for amd64 and arm64.

The wheels are edged's and that of edgectl alone. The sdist holds the unit and what else is in systemd/. A Debian
package holds a virtual environment with all that edged needs but Python itself: the wheels that the files
tools/constraints*.txt pin, each checked against its hash. That for another architecture is made of that architecture's
wheels; no program of it runs.

    tools/package                              into dist/
    tools/package --arch amd64 --fast          one architecture, not compressed

Needs dpkg-deb for the Debian packages and, for the wheels that are pinned, a package index that pip knows of.
Exit codes: 0 done, 1 something could not be built, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment_tree
from check_wheels import TARGETS, UnresolvedError
from debian_package import DebianPackage

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = {"amd64": TARGETS["debian12"], "arm64": TARGETS["pi"]}
"""Debian's name of an architecture → what its wheels have to load on: Debian 12."""


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def build_distributions(folder: Path) -> Path:
    """Build the wheels and the sdist into `folder`; return edged's wheel."""
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    for project, targets in ((ROOT, ("wheel", "sdist")), (ROOT / "edged/ctl", ("wheel",))):
        wanted = [word for target in targets for word in ("-t", target)]
        subprocess.run([*build, *wanted], cwd=project, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("edged-*.whl")
    return wheel


def source_date() -> str:
    """Return the time that all in the packages is as old as: $SOURCE_DATE_EPOCH, else that of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # an unpacked sdist
        return str(int((ROOT / "pyproject.toml").stat().st_mtime))


def main(arguments: list[str]) -> int:
    """Build what was asked for and print the files."""
    head, _, tail = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="tools/package", description=head, epilog=tail, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arch", nargs="*", choices=ARCHITECTURES, default=list(ARCHITECTURES), help="Debian packages for these (both)"
    )
    parser.add_argument("--into", type=Path, metavar="DIR", default=ROOT / "dist", help="where to (dist/)")
    parser.add_argument("--revision", default="1", metavar="N", help="of the Debian packages (1)")
    parser.add_argument("--fast", action="store_true", help="compress nothing: for a package that is tried at once")
    chosen = parser.parse_args(arguments)
    if chosen.arch and shutil.which("dpkg-deb") is None:
        parser.error("there is no dpkg-deb here, which makes Debian packages; without them: --arch")
    os.environ["SOURCE_DATE_EPOCH"] = source_date()
    os.umask(0o022)  # whoever builds, everybody may read what is installed
    into: Path = chosen.into.absolute()
    with tempfile.TemporaryDirectory(prefix="edged-package-") as work:
        made = Path(work, "made")
        say("• building the wheels and the sdist")
        wheel = build_distributions(made)
        for architecture in chosen.arch:
            target = ARCHITECTURES[architecture]
            folder = Path(work, architecture)
            say(f"• {architecture}: fetching the pinned wheels for {target.what}")
            wheels = environment_tree.fetch(target, folder / "wheels")
            say(f"• {architecture}: packing {len(wheels)} wheels and edged")
            tree = folder / "tree"
            environment_tree.make(target, wheel, wheels, tree)
            package = DebianPackage(architecture, target.python, environment_tree.version_of(wheel), chosen.revision)
            package.make(tree, folder / "root", made, fast=chosen.fast)
        into.mkdir(parents=True, exist_ok=True)
        for file in sorted(made.iterdir()):
            shutil.move(file, into / file.name)
            print(into / file.name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, UnresolvedError, subprocess.CalledProcessError) as error:
        say(f"tools/package: {error}")
        sys.exit(1)
