"""Commands on a machine where edged is installed as a service: its configuration, its state folder, its user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.resources import shipped
from edged.store import Store
from tests.albums import make_album
from tests.conftest import REPOSITORY
from tests.waiting import PATIENCE_S

ME = pwd.getpwuid(os.geteuid()).pw_name
MODEL = shipped("models") / "mobilenet_v2"
ADD = ("models", "add", str(MODEL / "model.tflite"), "--labels", str(MODEL / "labels.txt"), "--name", "a")
_PROGRAM = """
import sys
from pathlib import Path
from edged import settings
from edged.cli import main, state
root = Path(sys.argv[1])
state.ROOT, settings.SYSTEM_CONFIG = root, root / "etc/edged/edged.toml"
sys.exit(main(sys.argv[2:]))
"""
"""edged, on a machine whose /etc lies below a folder."""


class Machine:
    """A machine with an installed unit.

    Attributes:
        state: The service's state folder.
        root: Where `etc` lies.
    """

    def __init__(self, root: Path, user: str) -> None:
        self.root = root
        self.state = root / "data" / "edged"
        self.state.mkdir(parents=True)
        (root / "etc/edged").mkdir(parents=True)
        self.config = root / "etc/edged/edged.toml"
        self.config.write_text(f'[storage]\nstate_dir = "{self.state}"\n[retrain]\nbatch = 16\n')
        (root / "etc/systemd/system").mkdir(parents=True)
        (root / "etc/systemd/system/edged.service").write_text(
            f"[Service]\nUser={user}\nExecStart=/opt/edged/bin/edged run --config {self.config}\nProtectHome=yes\n"
            f"StateDirectory=edged\nEnvironmentFile=-/etc/edged/environment\nReadWritePaths={self.state}\n"
        )

    def run(self, *args: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        private = ("EDGED_", "XDG_", "STATE_DIRECTORY")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(private)}
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(self.root), *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            cwd=cwd,
            env=environment | {"PYTHONPATH": str(REPOSITORY)} | variables,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    return lambda user: Machine(tmp_path / "machine", user)


def test_the_commands_mean_the_service(machine: Callable[[str], Machine]) -> None:
    device = machine(ME)
    done = device.run(*ADD)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"edged: configuration {device.config}, state in {device.state}, as user {ME}\n"
    assert (device.state / "models" / "a").is_dir()
    done = device.run("models", "list", "--json")
    assert '"a"' in done.stdout
    assert "configuration" not in done.stdout
    done = device.run("check")
    assert f"# configuration: {device.config}\n" in done.stdout


def test_the_service_s_environment_counts_and_the_caller_s_wins(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    device = machine(ME)
    there, here = tmp_path / "there", tmp_path / "here"
    (device.root / "etc/edged/environment").write_text(f'EDGED_STORAGE__STATE_DIR="{there}"\n')
    assert f"state in {there}, as user {ME}\n" in device.run("models", "list").stderr
    assert device.run("models", "list", EDGED_STORAGE__STATE_DIR=str(here)).stderr == (
        f"edged: configuration {device.config}, state in {here}\n"
    )
    other = tmp_path / "other.toml"
    other.write_text(f'[storage]\nstate_dir = "{here}"\n')
    assert device.run("models", "list", "--config", str(other)).stderr == "", "the caller knows what it has named"


def test_a_daemon_beside_the_service_says_so(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    device = machine(ME)
    # It ends at once.
    text = f'[device]\nid = "a1"\n[model]\nname = "nosuch"\n[storage]\nstate_dir = "{tmp_path / "state"}"\n'
    device.config.write_text(text)
    other = tmp_path / "other.toml"
    other.write_text(text)
    warning = "the service has this configuration too; while both run as device 'a1', they push each other"
    assert warning in device.run("run").stderr
    assert warning in device.run("run", "--config", str(device.config)).stderr
    for done in (
        device.run("run", "--config", str(other)),
        device.run("run", STATE_DIRECTORY=str(tmp_path / "state")),
    ):
        assert warning not in done.stderr
        assert "nosuch" in done.stderr, "it would have run"


def test_without_its_own_place_the_state_is_what_systemd_makes(machine: Callable[[str], Machine]) -> None:
    device = machine(ME)
    device.config.write_text("")
    if Path("/var/lib/edged").exists():
        pytest.skip("edged is installed on this machine")
    assert f"state in /var/lib/edged, as user {ME}\n" in device.run("models", "list").stderr


@pytest.mark.parametrize(
    "command",
    [
        ADD,
        ("models", "use", "mobilenet_v2"),
        ("rollback",),
        ("retrain", "--images", "."),
        ("sources", "rank", "--images", "."),
    ],
)
def test_another_user_gets_one_line(machine: Callable[[str], Machine], command: tuple[str, ...]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may become every user")
    device = machine("root")
    done = device.run(*command)
    line = f"edged: {device.state} belongs to user root; run this as root (sudo), or as user root\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert list(device.state.iterdir()) == []
    assert device.run("models", "list").returncode == 0, "looking is allowed where it is possible"


@pytest.fixture
def nobody(tmp_path: Path) -> pwd.struct_passwd:
    """Another user, who can run this Python."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    account = pwd.getpwnam("nobody")
    temporary = Path(tempfile.gettempdir())  # private to root where `tools/test` has made it
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(temporary) and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    code = "import cv2, numpy, pydantic, edged.cli"
    tried = (
        subprocess.run(
            [sys.executable, "-c", code],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            capture_output=True,
            check=False,
            env={"PYTHONPATH": str(REPOSITORY), "HOME": "/"},
            cwd="/",
        )
        if os.access(sys.executable, os.X_OK) and _open_to_all(Path(sys.executable))
        else None
    )
    if tried is None or tried.returncode:
        pytest.skip("this Python lies where no other user may read it")
    return account


def _open_to_all(path: Path) -> bool:
    real = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in [*path.absolute().parents, *real.parents])


def test_root_leaves_nothing_of_its_own(
    machine: Callable[[str], Machine], nobody: pwd.struct_passwd, tmp_path: Path
) -> None:
    device = machine("nobody")
    os.chown(device.state, nobody.pw_uid, nobody.pw_gid)
    album = make_album(tmp_path / "album", 12)
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    for name in ("model.tflite", "labels.txt"):
        shutil.copy(MODEL / name, secret)
    done = device.run("models", "add", "model.tflite", "--labels", "labels.txt", "--name", "a", cwd=secret)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"edged: configuration {device.config}, state in {device.state}, as user nobody\n"
    done = device.run("retrain", "--images", str(album), "--lr", "0.1")
    assert done.returncode == 0, done.stderr
    assert " is current: it answers when the daemon starts" in done.stdout
    assert device.run("rollback").returncode == 0
    everything = [device.state, *device.state.rglob("*")]
    assert len(everything) > 20
    assert {path.lstat().st_uid for path in everything} == {nobody.pw_uid}

    done = device.run("retrain", "--images", str(secret))
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        f"edged: --images {secret}: user nobody, who owns the state folder, may not read it; put it where nobody may"
    ]
    done = device.run("retrain", "--images", str(album), "--out", str(secret / "out"))
    assert done.returncode == 2
    assert f"edged: --out {secret / 'out'}: user nobody, who owns the state folder, may not write" in done.stderr


def test_root_acts_as_the_owner_of_any_state_folder(
    nobody: pwd.struct_passwd, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    device = machine("root")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    done = device.run("models", "use", "mobilenet_v2", EDGED_STORAGE__STATE_DIR=str(theirs))
    assert done.returncode == 0, done.stderr
    assert {path.lstat().st_uid for path in theirs.rglob("*")} == {nobody.pw_uid}


def test_root_that_only_looks_changes_nothing(nobody: pwd.struct_passwd, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    leftover = theirs / "models" / ".tmp.0123"
    leftover.mkdir(parents=True)
    for path in (theirs, leftover.parent, leftover):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    Store(theirs)
    assert sorted(path.name for path in theirs.rglob("*")) == [".tmp.0123", "models"]


def test_doctor_says_what_the_rules_close_and_what_was_not_tried(machine: Callable[[str], Machine]) -> None:
    device = machine(ME)
    with device.config.open("a") as file:
        file.write('[cameras.a]\nsource = "dir:///home/pi/photos"\n[cameras.b]\nsource = "pattern"\n')
    if os.geteuid() == 0 and Path("/run/systemd/system").is_dir():
        pytest.skip("systemd would be asked, which knows another /etc")
    done = device.run("doctor")
    assert done.returncode == 1
    assert "closes cameras.a.source /home/pi/photos (ProtectHome=yes)" in done.stdout
    device.config.write_text(device.config.read_text().replace("dir:///home/pi/photos", "pattern"))
    done = device.run("doctor")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("! sandbox"))
    assert f"but not under the rules of {device.root}/etc/systemd/system/edged.service: systemd does not run" in line
    assert "All is well" not in done.stdout


def test_doctor_asks_for_no_rights_to_the_service_s_secrets(machine: Callable[[str], Machine]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    device = machine("root")
    secret = device.root / "etc/edged/mqtt.password"
    secret.touch(mode=0)
    with device.config.open("a") as file:
        file.write(
            f'[mqtt]\nusername = "a"\npassword_file = "{secret}"\nca_file = "/no/such"\n'
            '[cameras.main]\nsource = "pattern"\n'
        )
    findings = {found["part"]: found for found in map(json.loads, device.run("doctor", "--json").stdout.splitlines())}
    for part in ("mqtt.password_file", "broker"):
        assert findings[part]["status"] == "warning"
        assert findings[part]["text"] == f"not looked at: {secret} is not for this user to read"
        assert findings[part]["advice"] == "run it as root: sudo edged doctor"
    assert findings["mqtt.ca_file"]["status"] == "failed", "it is not there for anybody"


def test_doctor_names_what_the_service_cannot_write(machine: Callable[[str], Machine]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write to every file")
    device = machine(ME)
    (device.state / "images.sqlite").touch(mode=0o400)
    done = device.run("doctor", "--here")
    assert f"✗ state          {device.state}: this user may not write to 1 file(s)" in done.stdout
    assert f"chown -R {ME}: {device.state}" in done.stdout
