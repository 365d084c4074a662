"""What the installed unit says: the shipped file, drop-ins, and the paths that its rules close."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.cli.sandbox import hidden
from edged.cli.unit import Unit, installed
from edged.settings import CameraSettings, MqttSettings, Settings, StorageSettings
from tests.conftest import REPOSITORY

UNIT = (REPOSITORY / "systemd" / "edged.service").read_text()


def install(root: Path, text: str = UNIT, folder: str = "etc/systemd/system", **drop_ins: str) -> Unit | None:
    for name, content in {"edged.service": text, **drop_ins}.items():
        path = root / folder / (name if name == "edged.service" else f"edged.service.d/{name}.conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return installed(root)


def test_there_is_none(tmp_path: Path) -> None:
    assert installed(tmp_path) is None
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/edged.service").symlink_to("/dev/null")
    assert installed(tmp_path) is None, "masked"


def test_the_shipped_unit(tmp_path: Path) -> None:
    (tmp_path / "etc/edged").mkdir(parents=True)
    (tmp_path / "etc/edged/environment").write_text("# ours\nEDGED_MODEL__THREADS=1\nEDGED_DEVICE__ID = 'tx2 01'\n")
    unit = install(tmp_path)
    assert unit is not None
    assert (unit.user, unit.state_dir, unit.config) == ("edged", Path("/var/lib/edged"), Path("/etc/edged/edged.toml"))
    assert unit.command[:2] == ["/opt/edged/bin/edged", "run"]
    variables = unit.environment()
    assert variables["HOME"] == "/var/lib/edged"
    assert (variables["EDGED_MODEL__THREADS"], variables["EDGED_DEVICE__ID"]) == ("1", "tx2 01")
    assert unit.every("CapabilityBoundingSet") == []


def test_drop_ins_count_in_the_order_of_their_names_and_an_empty_value_forgets(tmp_path: Path) -> None:
    install(tmp_path, folder="usr/lib/systemd/system", a="[Service]\nUser=first\nUMask=0022\n")
    unit = install(
        tmp_path,
        a="[Unit]\nUser=nobody\n[Service]\nUser=second\nDeviceAllow=\nDeviceAllow=/dev/one rw\n",
        b="[Service]\nReadWritePaths=/data/one \\\n   /data/two\nStateDirectory=other:link\nExecStart=\n"
        "ExecStart=-/usr/bin/edged run --config=/srv/e.toml\n",
    )
    assert unit is not None
    assert (unit.user, unit.value("UMask"), unit.every("DeviceAllow")) == ("second", "0077", ["/dev/one rw"])
    assert (unit.state_dir, unit.config) == (Path("/var/lib/edged"), Path("/srv/e.toml"))
    assert unit.forbids_writing(Path("/data/two/x")) is None
    assert unit.forbids_writing(Path("/var/lib/other/x")) is None


@pytest.mark.parametrize(
    ("path", "hides", "closes"),
    [
        ("/home/pi/photos", "ProtectHome=yes", "ProtectHome=yes"),
        ("/run/user/1000/x", "ProtectHome=yes", "ProtectHome=yes"),
        ("/homes/pi", None, "ProtectSystem=strict"),
        ("/srv/photos", None, "ProtectSystem=strict"),
        ("/var/lib/edged/images", None, None),
        ("/var/cache/edged", None, None),
    ],
)
def test_what_the_shipped_rules_close(tmp_path: Path, path: str, hides: str | None, closes: str | None) -> None:
    unit = install(tmp_path)
    assert unit is not None
    assert (unit.hides(Path(path)), unit.forbids_writing(Path(path))) == (hides, closes)


def test_other_rules(tmp_path: Path) -> None:
    unit = install(
        tmp_path, "[Service]\nProtectHome=read-only\nProtectSystem=full\nPrivateTmp=1\nInaccessiblePaths=-/srv/no\n"
    )
    assert unit is not None
    assert (unit.user, unit.state_dir, unit.config) == ("root", None, None)
    assert unit.hides(Path("/home/pi")) is None
    assert unit.forbids_writing(Path("/home/pi")) == "ProtectHome=read-only"
    assert unit.forbids_writing(Path("/etc/x")) == "ProtectSystem=full"
    assert unit.forbids_writing(Path("/data/x")) is None
    assert unit.hides(Path("/tmp/x")) == "PrivateTmp=yes"
    assert unit.hides(Path("/srv/no/x")) == "InaccessiblePaths=/srv/no"


def test_files_of_the_configuration_that_the_rules_close_are_named(tmp_path: Path) -> None:
    unit = install(tmp_path)
    assert unit is not None
    (tmp_path / "link").symlink_to("/home/pi/clip.mp4")
    settings = Settings(
        cameras={
            "a": CameraSettings(source="dir:///home/pi/photos"),
            "b": CameraSettings(source=f"file://{tmp_path}/link"),
            "c": CameraSettings(source="dir:///srv/photos"),
            "d": CameraSettings(source="/dev/video0"),
        },
        mqtt=MqttSettings(password_file=Path("/home/pi/pw")),
        storage=StorageSettings(state_dir=Path("/data/edged")),
    )
    assert hidden(unit, settings, Path("/etc/edged/edged.toml")) == [
        "storage.state_dir /data/edged (ProtectSystem=strict)",
        "mqtt.password_file /home/pi/pw (ProtectHome=yes)",
        "cameras.a.source /home/pi/photos (ProtectHome=yes)",
        f"cameras.b.source {tmp_path}/link (ProtectHome=yes)",
    ]
