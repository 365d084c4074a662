"""`edgectl snapshot` and `set`: commands, acks, jobs, images, exit codes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edged.ctl.commands.snapshot import write
from edged.errors import ConfigError
from tests.ctl.conftest import Edgectl
from tests.ctl.device import JPEG, ScriptedDevice


def test_snapshot_writes_the_file_and_tells_the_label(broker_port: int, edgectl: Edgectl, tmp_path: Path) -> None:
    target = tmp_path / "door.jpg"
    began = datetime.now(timezone.utc)
    with ScriptedDevice(broker_port) as device:
        done = edgectl("--timeout", "60", "snapshot", "--camera", "main", "-o", str(target))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{target}  cat 0.93\n"
    assert target.read_bytes() == JPEG
    assert list(tmp_path.glob(".*.part")) == []
    ((name, command),) = device.commands
    assert (name, command.args) == ("snapshot", {"camera": "main"})
    assert command.expires is not None
    assert began < command.expires < datetime.now(timezone.utc) + timedelta(minutes=2)


def test_snapshot_names_the_file_itself(broker_port: int, edgectl: Edgectl, tmp_path: Path) -> None:
    with ScriptedDevice(broker_port):
        done = edgectl("snapshot", "--json")
    told = json.loads(done.stdout)
    assert told["file"].startswith("tx2-01-main-2")
    assert (tmp_path / "cwd" / told["file"]).read_bytes() == JPEG
    assert (told["label"], told["score"], told["bytes"]) == ("cat", 0.93, len(JPEG))


def test_snapshot_of_the_whole_fleet_fills_a_folder(broker_port: int, edgectl: Edgectl, tmp_path: Path) -> None:
    with ScriptedDevice(broker_port), ScriptedDevice(broker_port, "rpi-02"):
        done = edgectl("--device", "all", "snapshot", "-o", f"{tmp_path}/photos/")
        refused = edgectl("--device", "all", "snapshot", "-o", f"{tmp_path}/one.jpg")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name.split("-main-")[0] for path in (tmp_path / "photos").iterdir()) == ["rpi-02", "tx2-01"]
    assert refused.returncode == 2
    assert "name a folder" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["snapshot", "--camera", "attic"], "tx2-01 refuses snapshot: camera 'x': unknown; main"),
        (["set", "--fps", "999"], "tx2-01: set failed: camera main: cannot be that fast"),
    ],
    ids=["refusal", "failed job"],
)
def test_what_does_not_succeed_is_1_with_the_device_s_reason(
    broker_port: int, edgectl: Edgectl, arguments: list[str], said: str
) -> None:
    with ScriptedDevice(broker_port):
        done = edgectl(*arguments)
    assert done.returncode == 1
    assert done.stderr == f"edgectl: {said}\n"


def test_set_sends_only_what_was_given(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as device:
        done = edgectl("set", "--fps", "0")
        machine = edgectl("set", "--top", "3", "--camera", "main", "--json")
    assert (done.returncode, done.stdout) == (0, "tx2-01: fps 0\n")
    assert [command.args for _, command in device.commands] == [{"fps": 0}, {"top": 3, "camera": "main"}]
    assert json.loads(machine.stdout)["status"] == "succeeded"


def test_who_is_addressed(broker_port: int, edgectl: Edgectl) -> None:
    nobody = edgectl("set", "--fps", "1")
    assert nobody.returncode == 3
    assert "no device is online" in nobody.stderr
    with ScriptedDevice(broker_port, "old-02"):
        pass
    with ScriptedDevice(broker_port), ScriptedDevice(broker_port, "rpi-02"):
        several = edgectl("set", "--fps", "1")
        offline = edgectl("--device", "old-02", "set", "--fps", "1")
        unknown = edgectl("--device", "typo", "set", "--fps", "1")
        fleet = edgectl("--device", "all", "set", "--fps", "1")
    assert several.returncode == 2
    assert "rpi-02, tx2-01" in several.stderr
    assert (offline.returncode, offline.stderr) == (3, "edgectl: old-02 is offline\n")
    assert unknown.returncode == 3
    assert "online: rpi-02, tx2-01; offline: old-02" in unknown.stderr
    assert fleet.stdout.splitlines() == ["rpi-02: fps 1", "tx2-01: fps 1"]


def test_a_silent_device_is_3(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port, silent=True):
        done = edgectl("--timeout", "5", "snapshot")
    assert done.returncode == 3
    assert done.stderr == "edgectl: tx2-01 did not answer snapshot within 5 s\n"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot write"):
        write(tmp_path / "file" / "a.jpg", b"x")
