"""A Debian package of edged: an environment under /opt, and what a Debian expects of a service around it.

Its maintainer scripts, control fields and the rest that is Debian's own are the files in tools/debian. dpkg-deb alone
puts it together: there is nothing to compile, debhelper's share would be copying files, and the scripts that it writes
restart a service without asking the new version whether it can run.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "tools/debian"
TOP = "opt/edged"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
COPIES = {
    "systemd/edged.service": "lib/systemd/system/edged.service",
    "systemd/edged.sysusers": "usr/lib/sysusers.d/edged.conf",
    "systemd/edged.tmpfiles": "usr/lib/tmpfiles.d/edged.conf",
    "configs/edged.toml": "etc/edged/edged.toml",
    "README.md": "usr/share/doc/edged/README.md",
    "systemd/README.md": "usr/share/doc/edged/systemd.md",
    "tools/debian/copyright": "usr/share/doc/edged/copyright",
    "tools/debian/lintian-overrides": "usr/share/lintian/overrides/edged",
}
"""File of the checkout → where it is installed."""
COMPRESSED = {
    "CHANGELOG.md": "usr/share/doc/edged/changelog.gz",
    "edged/cli/edged.1": "usr/share/man/man1/edged.1.gz",
    "edged/ctl/edgectl.1": "usr/share/man/man1/edgectl.1.gz",
    "edged/edged.toml.5": "usr/share/man/man5/edged.toml.5.gz",
}
WITH_THE_VERSION = ("systemd/edged.service", "configs/edged.toml")
"""What is kept beside the programs too, so that a version that stays keeps its own."""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/{program}",
    "zsh": "usr/share/zsh/vendor-completions/_{program}",
}
CHANGES = """\
edged ({version}) unstable; urgency=medium

  * Built by tools/package. What has changed in edged: changelog.gz.

 -- {maintainer}  {date}
"""


@dataclass(frozen=True)
class DebianPackage:
    """One package for one architecture.

    Args:
        architecture: As Debian calls it.
        python: The minor version that the environment is for, such as 3.11.
        edged: The version of edged.
        revision: Of the package.
    """

    architecture: str
    python: str
    edged: str
    revision: str

    @property
    def version(self) -> str:
        """Debian's, in which a version before another one is marked by a tilde."""
        return f"{self.edged}-{self.revision}"

    @property
    def maintainer(self) -> str:
        """Who built it, by the variables that Debian's own tools read."""
        name, address = (os.environ.get(name) for name in ("DEBFULLNAME", "DEBEMAIL"))
        return f"{name or 'edged'} <{address or 'edged@packages.invalid'}>"

    def make(self, tree: Path, root: Path, into: Path, *, fast: bool = False) -> Path:
        """Put it together.

        Args:
            tree: The environment; it is moved.
            root: A folder for what dpkg-deb packs, which does not exist yet.
            into: Where the package goes.
            fast: Whether not to compress.

        Returns:
            The package.
        """
        top = root / TOP
        top.mkdir(parents=True)
        shutil.move(tree, top / "package")
        (top / "package/share").mkdir()
        for name in WITH_THE_VERSION:
            shutil.copyfile(ROOT / name, top / "package/share" / Path(name).name)
        (top / "bin").symlink_to("live/bin")
        (root / "usr/bin").mkdir(parents=True)
        for program in ("edged", "edgectl"):
            (root / "usr/bin" / program).symlink_to(f"/{TOP}/bin/{program}")
            for shell, place in COMPLETIONS.items():
                write(root / place.format(program=program), completion(program, shell))
        for name, place in COPIES.items():
            write(root / place, (ROOT / name).read_bytes())
        for name, place in COMPRESSED.items():
            write(root / place, compressed((ROOT / name).read_bytes()))
        now = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
        changes = CHANGES.format(version=self.version, maintainer=self.maintainer, date=format_datetime(now))
        write(root / "usr/share/doc/edged/changelog.Debian.gz", compressed(changes.encode()))
        self._write_control(root)
        package = into / f"edged_{self.version}_{self.architecture}.deb"
        compression = ["-Znone"] if fast else ["-Zxz"]
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", *compression, "--build", root, package],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return package

    def _write_control(self, root: Path) -> None:
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        control = root / "DEBIAN"
        control.mkdir()
        sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files]
        (control / "md5sums").write_text("".join(sums))
        configuration = [f"/{path.relative_to(root)}\n" for path in files if path.is_relative_to(root / "etc")]
        (control / "conffiles").write_text("".join(configuration))
        major, minor = map(int, self.python.split("."))
        fields = (TEMPLATES / "control").read_text()
        for name, value in {
            "version": self.version,
            "architecture": self.architecture,
            "maintainer": self.maintainer,
            "size": str(sum(-(-path.stat().st_size // 1024) for path in files)),
            "python": self.python,
            "next_python": f"{major}.{minor + 1}",
        }.items():
            fields = fields.replace(f"{{{name}}}", value)
        (control / "control").write_text(fields)
        for name in SCRIPTS:
            shutil.copyfile(TEMPLATES / name, control / name)
            (control / name).chmod(0o755)


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def compressed(content: bytes) -> bytes:
    """Return it as gzip makes it, always the same."""
    return gzip.compress(content, 9, mtime=0)


def completion(program: str, shell: str) -> bytes:
    """Return the script by which a shell completes a program of this checkout."""
    module = {"edged": "edged", "edgectl": "edged.ctl"}[program]
    command = [sys.executable, "-m", module, "completion", shell]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
