"""`edged doctor`: each line tells what is, and each failed one what to do."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.cli import main
from edged.sensors import open_sensors
from tests.mosquitto import Mosquitto, free_port

TREES = Path(__file__).parents[1] / "sensors"
PHOTOS = Path(__file__).parents[2] / "edged" / "demo" / "photos"


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, dict[str, Any]]]]:
    def examine(
        url: str, cameras: dict[str, str], *, model: str = "mobilenet_v2", state_dir: Path | None = None
    ) -> tuple[int, dict[str, dict[str, Any]]]:
        config = tmp_path / "edged.toml"
        config.write_text(
            f'[mqtt]\nurl = "{url}"\n[model]\nname = "{model}"\n'
            f'[storage]\nstate_dir = "{state_dir or tmp_path / "state"}"\n'
            + "".join(f'[cameras.{name}]\nsource = "{source}"\n' for name, source in cameras.items())
        )
        code = main(["doctor", "--config", str(config), "--json"])
        findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, {finding["part"]: finding for finding in findings}

    return examine


def test_all_is_well(mosquitto: Callable[..., Mosquitto], doctor: Any, tmp_path: Path) -> None:
    code, findings = doctor(mosquitto().url, {"main": f"dir://{PHOTOS}"})
    assert code == 0, findings
    assert list(findings) == ["state", "model", "camera main", "broker", "commands", "sensors", "service"]
    assert "will be made" in findings["state"]["text"]
    assert not (tmp_path / "state").exists(), "looking changes nothing"


def test_a_full_disk_wants_space_and_no_other_rights(
    doctor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edged.cli.doctor.tempfile.TemporaryFile", full)
    _, findings = doctor(f"mqtt://127.0.0.1:{free_port()}", {"main": f"dir://{PHOTOS}"})
    assert findings["state"]["status"] == "failed"
    assert findings["state"]["text"] == f"{tmp_path / 'state'}: No space left on device"
    assert findings["state"]["advice"] == "free some space on this disk"


def test_what_is_broken_says_what_to_do(doctor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_METRICS__LISTEN", "[::1]:9184")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # it is not installed
    file = tmp_path / "file"
    file.touch()
    cameras = {"a": "dir:///no/such", "b": "nonsense", "c": "/dev/video77"}
    code, findings = doctor(f"mqtt://127.0.0.1:{free_port()}", cameras, model="nope", state_dir=file / "x")
    assert code == 1
    failed = {part for part, finding in findings.items() if finding["status"] == "failed"}
    assert failed == {"state", "model", "camera a", "camera b", "camera c", "broker", "metrics"}
    for part in failed:
        assert findings[part]["advice"], part
        assert "\n" not in findings[part]["text"]
    assert "no model 'nope'" in findings["model"]["text"]
    assert "cameras.a.source" in findings["camera a"]["advice"]
    assert "Connection refused" in findings["broker"]["text"]


def test_the_library_that_fits_jtop_s_service_is_named(
    doctor: Any, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Jetson whose service is version 4.2.7: its library is not there, then it is a newer one."""
    root = Path(shutil.copytree(TREES / "orin_root", short_path / "orin"))
    (root / "usr/local/lib/python3.8/dist-packages/jetson_stats-4.2.7.dist-info").mkdir(parents=True)
    (root / "run").mkdir()
    monkeypatch.setattr("edged.sensors.open_sensors", lambda: open_sensors(root))
    monkeypatch.setitem(sys.modules, "jtop", None)
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(root / "run/jtop.sock"))
        service.listen()
        _, findings = doctor(f"mqtt://127.0.0.1:{free_port()}", {"main": f"dir://{PHOTOS}"})
        assert findings["sensors"] == {
            "part": "sensors",
            "status": "warning",
            "text": "tegra: 2 power rails, 1 temperatures, 1 loads, 1 clocks",
            "advice": "the jtop service runs, but this Python lacks its library: pip install 'jetson-stats==4.2.*'",
        }

        class Newer:
            def attach(self, _: object) -> None:
                pass

            def start(self) -> None:
                raise RuntimeError("Mismatch version jtop service: [4.2.7] and client: [7.2.2]. Please run: …")

        monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=Newer))
        _, findings = doctor(f"mqtt://127.0.0.1:{free_port()}", {"main": f"dir://{PHOTOS}"})
        assert findings["sensors"]["advice"].endswith("pip install 'jetson-stats==4.2.*'")


def test_where_proc_is_not_mounted_what_is_missing_is_named(tmp_path: Path) -> None:
    """As in a chroot that somebody made by hand; the other checks go on."""
    config = tmp_path / "edged.toml"
    config.write_text(
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[storage]\nstate_dir = "{tmp_path / "state"}"\n'
        '[model]\nruntime = "tflite_runtime"\n[cameras.main]\nsource = "pattern"\n'
    )
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount -t tmpfs tmpfs /proc && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("needs a mount namespace of its own")
    command = [sys.executable, "-m", "edged", "doctor", "--here", "--json", "--config", str(config)]
    done = subprocess.run([*inside, *command], check=False, capture_output=True, text=True)
    findings = {finding["part"]: finding for finding in map(json.loads, done.stdout.splitlines())}
    assert list(findings)[-2:] == ["sensors", "service"]
    assert findings["sensors"]["status"] == "warning"
    assert "there is no /proc/stat, no /proc/meminfo" in findings["sensors"]["text"]
    assert "mount /proc" in findings["sensors"]["advice"]
    assert "Traceback" not in done.stderr
