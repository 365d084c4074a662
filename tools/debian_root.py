"""Fresh Debian roots: what debootstrap makes, with this machine's network and its settings of apt and pip."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
ACCOUNT = "stranger"  # the plain user's name in a root
REMOVAL_LIMIT_S = 60
BASE_AGE_S = 30 * 24 * 3600  # an older base is made anew
CARRIED_VARIABLES = re.compile(r"pip_.*|(https?|ftp|all|no)_proxy|ssl_cert_(file|dir)|(requests|curl)_ca_bundle", re.I)
CARRIED_APT_SETTINGS = re.compile(r"Acquire::(https?|ftp|socks|Retries|Check-|ForceIPv|AllowReleaseInfoChange)\b", re.I)

# What a Python that is not Debian's must be able to do in a root, or it is not usable there.
NEEDED_MODULES = "import bz2, ctypes, hashlib, lzma, sqlite3, ssl, venv, zlib"

# $1: the root; $2: user:group; $3: folders of this machine to lend, read-only, one a line; then the command.
# The root is really the root afterwards (in a chroot, no user could make namespaces), and nothing else is in sight.
ENTER = """
set -eu
root=$1 account=$2 lent=$3
shift 3
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for node in null zero full random urandom tty; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
printf '%s' "$lent" | while IFS= read -r folder; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
  mount -o remount,bind,ro "$root$folder"
done
pivot_root . mnt
umount -l /mnt
exec chroot --userspec="$account" / "$@"
"""


class NoRootError(Exception):
    """No root can be made on this machine; the text says why."""


class NotToBeHadError(Exception):
    """A combination does not exist here; the text says why."""


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def last_words(output: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it said nothing")


def output_of(*command: str | Path) -> str:
    """Return what a command of this machine prints; nothing where it fails or does not exist."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


# ── what this machine is set up for ──


@dataclass(frozen=True)
class Setup:
    """How this machine reaches packages, to be had in every root as well.

    Args:
        mirror: Of Debian; None: debootstrap's own choice.
        sources: Lines of sources.list with {suite} in the place of the code name; none: as debootstrap leaves it.
        apt: Lines of apt.conf.
        pip: pip's configuration files, in one.
        variables: Environment variables about proxies, certificates and pip.
        files: Of this machine, which a root gets at the same place.
        lent: Folders that pip's configuration names.
    """

    mirror: str | None
    sources: tuple[str, ...]
    apt: str
    pip: ConfigParser
    variables: dict[str, str]
    files: tuple[Path, ...]
    lent: tuple[Path, ...]

    @classmethod
    def read(cls) -> Setup:
        """Read it from apt, pip's configuration files and the environment."""
        mirror, sources = debian_sources()
        settings = output_of("apt-config", "dump", "Acquire").splitlines()
        variables = {name: value for name, value in os.environ.items() if CARRIED_VARIABLES.fullmatch(name)}
        pip = ConfigParser(interpolation=None)
        home = Path.home()
        users = [f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf", variables.pop("PIP_CONFIG_FILE", "")]
        pip.read(["/etc/xdg/pip/pip.conf", "/etc/pip.conf", *users])
        values = [*variables.values(), *(value for section in pip.sections() for value in pip[section].values())]
        named_paths = {Path(word.removeprefix("file://")) for value in values for word in value.split()}
        here = sorted(path for path in named_paths if path.is_absolute() and path.exists())
        return cls(
            mirror,
            sources,
            "\n".join(line for line in settings if CARRIED_APT_SETTINGS.match(line)),
            pip,
            variables,
            (*(path for path in here if path.is_file()), Path("/etc/resolv.conf")),
            # An index refers to files beside it. What /etc names are certificates, and the root has its own.
            tuple(
                path.parent if path.name == "simple" else path
                for path in here
                if path.is_dir() and not path.is_relative_to("/etc") and path != Path("/")
            ),
        )

    def write(self, root: Path, suite: str) -> None:
        """Write it into a root."""
        etc = root / "etc"
        if self.sources:
            lines = (source.format(suite=suite) for source in self.sources)
            (etc / "apt/sources.list").write_text("\n".join(lines) + "\n")
        (etc / "apt/apt.conf.d/99matrix").write_text(self.apt + "\n")
        for secret in [Path("/etc/apt/auth.conf"), *Path("/etc/apt").glob("auth.conf.d/*")]:
            if secret.is_file():
                copy_into(root, secret)
        for file in self.files:
            copy_into(root, file)
        certificates = Path("/usr/local/share/ca-certificates")  # kept where Debian's own are renewed
        for file in certificates.rglob("*.crt"):
            copy_into(root, file)
        with (etc / "pip.conf").open("w") as stream:
            self.pip.write(stream)


def copy_into(root: Path, file: Path) -> None:
    """Copy a file of this machine to the same place in a root."""
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # it may be a link out of the root
    shutil.copy(file, target)


def debian_sources() -> tuple[str | None, tuple[str, ...]]:
    """Return the mirror, and the lines of sources.list, of this machine's Debian; nothing on another distribution."""
    keys = "$(CREATED_BY)|$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)"
    names = re.search(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.M)
    for attempt in range(2):
        mirror, lines = None, []
        for target in output_of("apt-get", "indextargets", "--format", keys).splitlines():
            created_by, origin, codename, uri, component = target.split("|")
            if (created_by, origin, component) != ("Packages", "Debian", "main") or names is None:
                continue
            base, dash, pocket = codename.partition("-")
            if base == names[1] and pocket in {"", "updates", "security"}:
                lines.append(f"deb {uri} {{suite}}{dash}{pocket} main")
                mirror = mirror if pocket else uri
        if mirror is not None:
            return mirror, tuple(dict.fromkeys(lines))
        if attempt == 0:
            output_of("apt-get", "update")  # whose a source is stands in its lists only
    return None, ()


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine that can be lent to a root: the program and the folder that it needs."""

    program: Path
    prefix: Path


def find_interpreter(version: str) -> Interpreter:
    """Find a Python of this machine that stands in a folder of its own.

    Raises:
        NotToBeHadError: There is none.
    """
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [*pyenv.glob(f"versions/{version}.*"), *Path.home().glob(f".local/share/uv/python/cpython-{version}.*")]
    on_path = shutil.which(name)
    question = "import os, sys; print(*sys.version_info[:2], os.path.realpath(sys.executable), sys.base_prefix)"
    reason = f"there is no {name} on this machine"
    candidates = [Path(on_path)] if on_path else []
    for candidate in [*candidates, *(folder / "bin" / name for folder in sorted(folders))]:
        answer = output_of(candidate, "-c", question).split()
        if len(answer) == 4 and ".".join(answer[:2]) == version:
            prefix = Path(answer[3]).resolve()
            if prefix != Path("/usr"):
                return Interpreter(Path(answer[2]), prefix)
            reason = f"this machine's {name} cannot be lent: it is part of its /usr"
    raise NotToBeHadError(reason)


# ── a root ──


@dataclass
class DebianRoot:
    """A fresh Debian, to run commands in.

    Args:
        folder: Where it is.
        setup: This machine's.
        lent: Folders of this machine that can be read there.
    """

    folder: Path
    setup: Setup
    lent: list[Path] = field(default_factory=list)

    def command(self, user: str, variables: dict[str, str], *command: str) -> list[str]:
        """Return the command that runs another one in the root, in the user's home folder."""
        account = ACCOUNT if user == "user" else "root"
        home = f"/home/{ACCOUNT}" if user == "user" else "/root"
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        path = system if user == "root" else "/usr/local/bin:/usr/bin:/bin:/usr/games"  # as Debian's login has them
        everything = {
            **{
                "HOME": home,
                "USER": account,
                "LOGNAME": account,
                "SHELL": "/bin/bash",
                "PATH": path,
                "LANG": "C.UTF-8",
            },
            **self.setup.variables,
            **variables,
        }
        lent = "".join(f"{folder}\n" for folder in self.lent)
        # The shell that waits for the command is the namespace's first process, which has to reap everybody's orphans.
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", ENTER, "sh", str(self.folder), f"{account}:{account}", lent),
            *("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in everything.items())),
            *("/bin/sh", "-c", 'cd && "$@"; exit $?', "sh", *command),
        ]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root and keep what it says."""
        whole = self.command("root", {"DEBIAN_FRONTEND": "noninteractive"}, *command)
        return subprocess.run(
            whole, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def lend(self, interpreter: Interpreter) -> None:
        """Make a Python of this machine run here, with the shared libraries that it needs.

        Raises:
            NotToBeHadError: It does not.
        """
        self.lent.append(interpreter.prefix)
        for parent in [path for path in interpreter.prefix.parents if path != Path("/")]:
            there = self.folder / parent.relative_to("/")
            there.mkdir(exist_ok=True, parents=True)
            there.chmod(there.stat().st_mode | 0o111)  # /root, for one: a plain user has to get through
        files = [interpreter.program, *(p for p in interpreter.prefix.rglob("*.so") if "_tkinter" not in p.name)]
        output = self.run("ldd", *map(str, files)).stdout
        missing = sorted(set(re.findall(r"^\s*(\S+) => not found", output, re.M)))
        if missing:
            packages = sorted(filter(None, map(package_of, missing)))
            self.run("apt-get", "update")
            said = self.run("apt-get", "install", "--yes", "--no-install-recommends", *packages)
            if said.returncode:
                raise NotToBeHadError(f"its shared libraries cannot be installed: {last_words(said.stdout)}")
        check = self.run(str(interpreter.program), "-c", NEEDED_MODULES)
        if check.returncode:
            raise NotToBeHadError(f"{interpreter.program} does not run there: {last_words(check.stdout)}")


def package_of(library: str) -> str:
    """Return the package of this machine that a shared library comes from; empty where it is unknown."""
    found = re.search(rf"^\s*{re.escape(library)} .* => (\S+)$", output_of("/sbin/ldconfig", "-p"), re.M)
    if found is None:
        return ""
    real = str(Path(found[1]).resolve())
    owner = output_of("dpkg", "-S", real) or output_of("dpkg", "-S", real.removeprefix("/usr"))
    return owner.partition(":")[0]


def base(suite: str, cache: Path, setup: Setup) -> Path:
    """Return an archive of what debootstrap makes of `suite`, and python3; made where the cache has no young one.

    Raises:
        NoRootError: debootstrap is missing, or failed.
    """
    architecture = output_of("dpkg", "--print-architecture").strip() or os.uname().machine
    archive = cache / f"{suite}-{architecture}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < BASE_AGE_S:
        return archive
    require_debootstrap()
    say(f"• making a {SUITES[suite]} ({suite}) with debootstrap")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{suite}-", dir=cache) as work:
        root, log = Path(work, "root"), Path(work, "log")
        command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]
        command += ["--include=python3", suite, str(root), *([setup.mirror] if setup.mirror else [])]
        with log.open("wb") as stream:
            code = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            ).returncode
        if code:
            raise NoRootError(f"debootstrap failed: {last_words(log.read_text(errors='replace'))}")
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        subprocess.run(["tar", "-C", root, "--numeric-owner", "-cf", f"{work}/base.tar", "."], check=True)
        Path(work, "base.tar").replace(archive)
    return archive


def require_debootstrap() -> None:
    """Install debootstrap where it is missing.

    Raises:
        NoRootError: That failed.
    """
    if shutil.which("debootstrap"):
        return
    say("• apt-get install debootstrap")
    output_of("apt-get", "-o", "DPkg::Lock::Timeout=120", "update")
    with contextlib.suppress(OSError):
        subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "debootstrap", "debian-archive-keyring"],
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    if shutil.which("debootstrap") is None:
        raise NoRootError("debootstrap is not installed, and apt cannot install it")


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """Make a folder with room for a root, and remove it; processes that were killed may write to it a moment longer."""
    folder = Path(tempfile.mkdtemp(prefix="edged-matrix-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        yield folder
    finally:
        deadline_s = time.monotonic() + REMOVAL_LIMIT_S
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline_s)
