"""`edgectl jobs`, `status` and `forget` of devices that are gone; ids in tables."""

from __future__ import annotations

import json

import paho.mqtt.publish
import pytest

from edged.contract.discovery import discovery_levels
from edged.contract.messages import Job
from edged.ctl import main
from edged.ctl.commands.jobs import shortened
from edged.daemon.homeassistant import Readable, describe, list_components
from edged.settings import Settings
from tests.ctl.conftest import Edgectl
from tests.ctl.device import ScriptedDevice
from tests.daemon.running import Watcher

RUNNING = Job(id="4f1a" + 28 * "0", cmd="retrain", status="running", stage="bottlenecks", progress=0.4)


def test_a_device_that_is_offline_runs_nothing(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as device:
        device.say("job", RUNNING, retain=True)
        assert "retrain 40%" in edgectl("status").stdout
    for done in (edgectl("status"), edgectl("--device", "tx2-01", "status")):
        assert done.returncode == 0, done.stderr
        assert "offline" in done.stdout
        assert "retrain 40%" not in done.stdout
    done = edgectl("jobs")
    assert done.returncode == 0, done.stderr
    assert "unknown, offline; was running" in " ".join(done.stdout.split())
    for command in ("status", "jobs"):
        told = json.loads(edgectl(command, "--json").stdout)
        job = told["job"] if command == "status" else told
        assert (job["status"], job["was"], job["progress"]) == ("unknown", "running", 0.4)
    assert edgectl("jobs", "4f1a", "--json").returncode == 0
    missing = edgectl("jobs", "feed")
    assert (missing.returncode, missing.stderr) == (1, "edgectl: no job feed\n")


def test_forget_clears_what_a_device_has_left(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port, "here"), ScriptedDevice(broker_port, "old-02") as device:
        device.say("job", RUNNING, retain=True)
        device.say("label/door", b"{}", retain=True)
        refused = edgectl("forget", "old-02")
        assert refused.returncode == 1
        assert refused.stderr == "edgectl: old-02 is online; stop it first, or --force\n"
    done = edgectl("forget", "old-02")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "old-02: cleared info, job, label/door, model, state\n"
    assert [json.loads(line)["device"] for line in edgectl("status", "--json").stdout.splitlines()] == ["here"]
    again = edgectl("--device", "old-02", "forget")
    assert again.returncode == 3
    assert "nothing of 'old-02' is kept at" in again.stderr
    with ScriptedDevice(broker_port, "loud"):
        forced = edgectl("--device", "loud", "forget", "--force", "--json")
        assert json.loads(forced.stdout) == {"device": "loud", "cleared": ["info", "model", "state"], "left": []}


def described(device: str, prefix: str = "edged") -> bytes:
    """Return what a device of this name tells Home Assistant."""
    settings = Settings(device={"id": device}, mqtt={"prefix": prefix}, cameras={"main": {"source": "0"}})
    return json.dumps(describe(settings, list_components(settings, ["main"], Readable()), {}, version="1")).encode()


def test_forget_clears_what_home_assistant_was_told(broker_port: int, edgectl: Edgectl) -> None:
    elsewhere, gone, twin = "old.02", "gone", "twin"  # the topic of a name with a dot is another there
    for prefix, device, told in (
        ("ha", elsewhere, described(elsewhere)),
        ("homeassistant", gone, described(gone)),
        ("homeassistant", twin, described(twin, "other")),
        ("ha", twin, b'{"device": {"identifiers": 1}}'),
    ):
        paho.mqtt.publish.single(f"{prefix}/{discovery_levels(device)}", told, qos=1, retain=True, port=broker_port)
    with ScriptedDevice(broker_port, elsewhere), ScriptedDevice(broker_port, twin):
        pass
    done = edgectl("forget", elsewhere, "--discovery-prefix", "ha")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{elsewhere}: cleared ha/{discovery_levels(elsewhere)}, info, model, state\n"
    assert edgectl("forget", twin, "--discovery-prefix", "ha", "--json").stdout.count("ha/") == 0
    assert Watcher.once(broker_port, base="ha/").keys() == {discovery_levels(twin)}
    # A device of the same name below another prefix of topics is another one.
    assert edgectl("forget", twin).returncode == 3
    # Nothing else need be left of it.
    assert edgectl("forget", gone).stdout == f"{gone}: cleared homeassistant/{discovery_levels(gone)}\n"
    assert Watcher.once(broker_port, base="homeassistant/").keys() == {discovery_levels(twin)}


def test_a_discovery_prefix_is_one_level(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["forget", "old-02", "--discovery-prefix", "a/b"])
    assert end.value.code == 2
    assert "--discovery-prefix: 'a/b': use 1 to 64 letters" in capsys.readouterr().err


def test_forget_takes_one_device(edgectl: Edgectl) -> None:
    for arguments in ([], ["all"], ["--device", "all"], ["one", "--device", "two"]):
        done = edgectl("forget", *arguments)
        assert (done.returncode, done.stderr) == (2, "edgectl: forget: name one device, e.g. edgectl forget old-02\n")
    done = edgectl("forget", "+")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_ids_are_shown_as_far_as_they_differ() -> None:
    assert shortened([]) == {}
    assert shortened(["abc"]) == {"abc": "abc"}
    assert shortened(["0123456789", "1123456789"]) == {"0123456789": "01234567", "1123456789": "11234567"}
    assert shortened(["012345678x", "012345678y"]) == {one: one for one in ("012345678x", "012345678y")}
