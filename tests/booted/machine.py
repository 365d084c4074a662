"""A Debian of its own with a systemd that is really booted, in namespaces of this machine (systemd-nspawn)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.waiting import PATIENCE_S, wait_until

sys.path.append(str(REPOSITORY / "tools"))
from debian_root import DebianRoot, NoRootError, Setup, base, last_words, output_of

SUITE = "bookworm"
"""Debian 12. A younger systemd does not boot where a machine still has control groups of version 1."""
PACKAGES = ("systemd", "systemd-sysv", "dbus", "procps", "mosquitto", "mosquitto-clients")
"""What a device has, or its broker: everything else is installed by the lines of systemd/README.md."""
CHECKOUT = "/srv/edged"
WHEELS = "/srv/wheels"
CONTROLLERS = ("memory", "devices", "systemd", "unified")
"""Of control groups of version 1, what the booted systemd gets to set limits with."""
PREPARED_AGE_S = 7 * 24 * 3600
_END_S = 20.0
_RESTART_ME = 133
"""How a systemd-nspawn with `--keep-unit` ends when its machine reboots."""


class NotPossibleError(Exception):
    """This machine cannot boot another; the text says why."""


def check_possible() -> None:
    """Raise NotPossibleError where no machine can be booted here."""
    if os.geteuid() != 0:
        raise NotPossibleError("booting a systemd needs root")
    if shutil.which("apt-get") is None:
        raise NotPossibleError("booting a systemd needs a Debian's apt-get")
    missing = [name for name in ("systemd-nspawn", "debootstrap") if shutil.which(name) is None]
    if missing:
        for command in (["update"], ["install", "-y", "--no-install-recommends", "systemd-container", "debootstrap"]):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=120", *command], capture_output=True, check=False)
        if any(shutil.which(name) is None for name in missing):
            raise NotPossibleError(f"apt cannot install {' and '.join(missing)}")


def readme_lines() -> list[str]:
    """Return the lines of systemd/README.md that install edged."""
    text = (REPOSITORY / "systemd/README.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert any("pip install" in line for line in lines), "systemd/README.md says no more how edged is installed"
    return [line.replace("/path/to/this/checkout", CHECKOUT) for line in lines]


class Machine:
    """A booted Debian with a broker, without any network but its own loopback.

    Args:
        folder: For its root and logs.
        name: What tells it from others that this process boots.
    """

    def __init__(self, folder: Path, name: str = "readme") -> None:
        self.root = folder / "root"
        self._folder = folder
        self._name = f"edged-booted-{name}-{os.getpid()}"
        self._groups: list[Path] = []
        self._nspawn: subprocess.Popen[bytes] | None = None

    # -- making it -----------------------------------------------------------------------------------------------------

    def make(self, cache: Path) -> None:
        """Make the root: a Debian, this checkout, and the wheels that it needs, since there is no network later.

        Raises:
            NotPossibleError: There is no Debian to be had, or this machine does not let one be entered.
        """
        try:
            setup = Setup.read()
            archive = self._prepared(cache, setup)
        except (NoRootError, OSError) as error:
            raise NotPossibleError(str(error)) from error
        unpack(archive, self.root)
        self.write("/etc/pip.conf", f"[global]\nno-index = true\nfind-links = {WHEELS}\n")
        self.write("/etc/mosquitto/conf.d/all.conf", "listener 1883 127.0.0.1\nallow_anonymous true\n")
        self._copy_checkout()

    def _prepared(self, cache: Path, setup: Setup) -> Path:
        """Return an archive of a root with all packages of Debian and of Python that it will need; kept for a week."""
        pins = (REPOSITORY / "tools/constraints.txt").read_bytes()
        first = next(line.partition("#")[0].strip() for line in readme_lines() if line.startswith("apt install"))
        packages = f"{first} {' '.join(PACKAGES)}"
        archive = cache / f"booted-{SUITE}-{hashlib.sha256(pins + packages.encode()).hexdigest()[:16]}.tar"
        if archive.exists() and time.time() - archive.stat().st_mtime < PREPARED_AGE_S:
            return archive
        with tempfile.TemporaryDirectory(prefix="booted-", dir=self._folder) as work:
            folder = Path(work, "root")
            unpack(base(SUITE, cache, setup), folder)
            setup.write(folder, SUITE)
            yes = 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'
            (folder / "etc/apt/apt.conf.d/99yes").write_text(yes)
            (folder / "srv/pins").write_bytes(pins)
            root = DebianRoot(folder, setup, list(setup.lent))
            for line in (
                "apt-get update",
                packages,
                "apt-get clean",
                "python3 -m venv /srv/download",
                "/srv/download/bin/pip download --quiet --require-hashes --only-binary=:all: "
                f"--dest {WHEELS} --requirement /srv/pins",
                "rm -r /srv/download /srv/pins",
            ):
                done = root.run("sh", "-c", line)
                if done.returncode:
                    raise NotPossibleError(f"a fresh Debian cannot be prepared: {line}: {last_words(done.stdout)}")
            for old in cache.glob(f"booted-{SUITE}-*.tar"):
                old.unlink()
            subprocess.run(["tar", "-C", folder, "--numeric-owner", "-cf", f"{work}/tar", "."], check=True)
            shutil.move(f"{work}/tar", archive)
        return archive

    def _copy_checkout(self) -> None:
        target = self.root / CHECKOUT.lstrip("/")
        target.mkdir(parents=True)
        git = ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), "ls-files", "-z"]
        for name in filter(None, output_of(*git, "--cached", "--others", "--exclude-standard").split("\0")):
            if (REPOSITORY / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, target / name)

    # -- its life ------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Boot it and wait until systemd has started everything.

        Raises:
            NotPossibleError: This machine does not let it.
        """
        command = ["systemd-nspawn", f"--directory={self.root}", f"--machine={self._name}", "--register=no"]
        if not Path("/run/systemd/system").is_dir():
            command.append("--keep-unit")
        command += ["--private-network", "--link-journal=no", "--console=pipe", "--boot"]
        self._groups = own_groups(self._name)
        enter = 'for group in $0; do echo $$ >"$group/cgroup.procs"; done; exec "$@"'
        with (self._folder / "boot.log").open("ab") as log:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", enter, " ".join(map(str, self._groups)), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait_for_systemd()

    def _wait_for_systemd(self) -> None:
        def up() -> bool:
            assert self._nspawn is not None
            if self._nspawn.poll() is not None:
                log = (self._folder / "boot.log").read_text(errors="replace")
                raise NotPossibleError(f"systemd-nspawn does not boot here: {last_words(log)}")
            return self.leader is not None and self.run("test", "-S", "/run/systemd/private").returncode == 0

        wait_until(up, what="the first process of the booted machine")
        # Control groups of version 1 come read-only. systemd looks again, at what it may set, when it starts anew.
        if any(group.parts[4] == "memory" for group in self._groups):
            for name in ("memory", "devices"):
                self.check("mount", "-o", "remount,rw,bind", f"/sys/fs/cgroup/{name}")
            self.check("systemctl", "daemon-reexec")
        wait_until(lambda: self.run("systemctl", "is-system-running").stdout.strip() != "starting", what="booting")
        wait_until(lambda: self.run("systemctl", "is-active", "mosquitto").returncode == 0, what="the broker")

    @property
    def leader(self) -> int | None:
        """The booted systemd's number on this machine."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        with contextlib.suppress(OSError, IndexError):  # it has ended, or has no child at this moment
            return int(children.read_text().split()[0])
        return None

    def reboot(self) -> None:
        """Restart it as `reboot` does, and wait until it is up."""
        before = self.leader
        self.run("systemctl", "reboot")
        nspawn = self._nspawn
        assert nspawn is not None
        wait_until(lambda: nspawn.poll() is not None or self.leader not in (None, before), what="the reboot")
        if nspawn.poll() is None:
            self._wait_for_systemd()
        else:
            assert nspawn.returncode == _RESTART_ME
            self.boot()

    def end(self) -> None:
        """End it and everything in it, and leave no control group behind."""
        if self._nspawn is not None:
            if (leader := self.leader) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(leader, signal.SIGKILL)  # and with it everything in its namespace; nspawn cleans up then
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(_END_S)
            self._nspawn.kill()
            self._nspawn.wait(PATIENCE_S)
            self._nspawn = None
        for processes in [file for group in self._groups for file in group.rglob("cgroup.procs")]:
            for number in processes.read_text().split():  # a machine whose systemd-nspawn was killed outlives it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGKILL)
        deadline_s = time.monotonic() + _END_S
        while any(group.exists() for group in self._groups) and time.monotonic() < deadline_s:
            for group in self._groups:
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):  # its last process is not quite gone
                        Path(folder).rmdir()

    # -- using it ------------------------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """Return the command that runs another one inside, as root."""
        clean = "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8"
        enter = f"nsenter --target {self.leader} --mount --uts --ipc --net --pid --cgroup --wdns=/"
        return [*enter.split(), *clean.split(), "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat", "COLUMNS=300", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; its two outputs are one."""
        return subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip

    def check(self, *words: str) -> str:
        """Run a command inside that must succeed; return what it says."""
        done = self.run(*words)
        assert done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def install(self, config: str) -> None:
        """Install edged as systemd/README.md says, line by line, and start it."""
        self.write("/srv/edited.toml", config)
        for line in readme_lines():
            done = self.run("sh", "-c", f"cd {CHECKOUT}; export EDITOR='cp /srv/edited.toml'; {line}")
            # A line that asks first whether there is something to do may find that there is not.
            good = done.returncode == 0 or (line.startswith("getent") and not done.stdout)
            assert good, f"systemd/README.md: {line}\n{done.stdout}\n{self.journal()}"

    def show(self, key: str, unit: str = "edged") -> str:
        """Return a property of a unit."""
        return self.check("systemctl", "show", "--value", "--property", key, unit).strip()

    def journal(self, *options: str) -> str:
        """Return edged's log."""
        return self.run("journalctl", "--unit=edged", "--no-pager", "--output=cat", *options).stdout


def unpack(archive: Path, folder: Path) -> None:
    """Make a root of an archive."""
    folder.mkdir(mode=0o755)
    subprocess.run(["tar", "-C", folder, "--numeric-owner", "-xpf", archive], check=True)


def own_groups(name: str) -> list[Path]:
    """Make control groups below this process's own, where the machine has version 1 of them; none elsewhere."""
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mounted = controllers.removeprefix("name=") or "unified"
        if mounted in CONTROLLERS and Path("/sys/fs/cgroup/memory/cgroup.procs").exists():
            group = Path("/sys/fs/cgroup", mounted, path.lstrip("/"), name)
            try:
                group.mkdir(exist_ok=True)
            except OSError:
                continue
            groups.append(group)
    return groups
