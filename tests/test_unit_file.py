"""systemd/edged.service: what it promises, and what systemd-analyze thinks of its sandbox."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

SYSTEMD = Path(__file__).parents[1] / "systemd"
UNIT = SYSTEMD / "edged.service"
MAX_EXPOSURE = 2.0


class _Repeated(dict):
    """Keeps every line of a key that stands more than once, as a unit file means it."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and isinstance(self.get(key), list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    parser = configparser.RawConfigParser(dict_type=_Repeated, strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(UNIT)
    return {key: value.splitlines() for key, value in parser["Service"].items()}


def test_it_is_supervised(service):
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert service["WatchdogSec"] == ["30"]
    assert service["Restart"] == ["on-failure"]
    assert service["ExecStart"] == ["/opt/edged/bin/edged run --config /etc/edged/edged.toml"]
    assert "StartLimitIntervalSec=0" in UNIT.read_text().splitlines()


def test_it_runs_as_the_user_that_is_created(service):
    created = re.findall(r"^u (\S+)", (SYSTEMD / "edged.sysusers").read_text(), re.MULTILINE)
    assert service["User"] == service["Group"] == created
    assert "SupplementaryGroups" not in service  # one that a machine lacks would keep the service from starting


def test_its_user_is_in_the_groups_of_cameras_and_gpu():
    members = re.findall(r"^m edged (\S+)", (SYSTEMD / "edged.sysusers").read_text(), re.MULTILINE)
    assert members == ["video", "render"]


def test_its_documentation_is_what_the_instructions_install():
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("Documentation=")]
    files = [uri.removeprefix("file://") for uri in line.removeprefix("Documentation=").split()]
    assert files == ["/usr/share/doc/edged/README.md", "/usr/share/doc/edged/systemd.md"]
    install = "install -D -m 644 -t /usr/share/doc/edged README.md && install -m 644 systemd/README.md " + files[1]
    for page in (SYSTEMD / "README.md", SYSTEMD.parent / "README.md"):
        assert install in page.read_text()


def test_cameras_are_reachable(service):
    assert "char-video4linux rw" in service["DeviceAllow"]
    assert service["PrivateTmp"] == ["no"]  # nvargus-daemon listens in /tmp
    assert "PrivateDevices" not in service


def test_older_systemd_is_not_locked_out(service):
    # systemd 237 (Ubuntu 18.04) has no @system-service: an allow list of it would allow next to nothing there.
    assert all(line.startswith("~") for line in service["SystemCallFilter"])
    assert "@resources" not in " ".join(service["SystemCallFilter"])  # the trainer is nice


@pytest.fixture
def analyze(tmp_path):
    """Run `systemd-analyze COMMAND… UNIT`; skips where it cannot even read the simplest unit, with its own words."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    simplest = tmp_path / "simplest.service"
    simplest.write_text("[Service]\nExecStart=/bin/true\n")
    # Neither a home nor a session is needed: there need not be any where systemd was installed and never booted.
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_COLORS": "0"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        def of(unit: Path) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["systemd-analyze", *command, str(unit)],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
                env=environment,
            )

        possible = of(simplest)
        if possible.returncode != 0:
            pytest.skip(f"systemd-analyze {command[0]} does not run here: {possible.stderr.strip()}")
        return of(UNIT)

    return run


def test_the_sandbox_leaves_little_exposed(analyze):
    result = analyze("security", "--offline=true", "--no-pager")
    exposure = re.search(r"Overall exposure level for edged.service: ([\d.]+)", result.stdout)
    assert exposure, result.stderr
    assert float(exposure.group(1)) <= MAX_EXPOSURE


def test_systemd_understands_every_line(analyze):
    result = analyze("verify", "--man=no")
    complaints = [line for line in result.stderr.splitlines() if line.startswith(str(UNIT)) or "edged.service" in line]
    assert [line for line in complaints if "is not executable" not in line] == []  # edged need not be installed here
