"""`edgectl status` against a real Mosquitto and scripted devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edged.contract.messages import CameraInfo, PerformanceInfo
from tests.ctl.conftest import Edgectl
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S


def test_table_tells_state_model_cameras_speed_and_heat(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as device:
        device.info = device.info.model_copy(
            update={
                "state": "degraded",
                "cameras": {"door": CameraInfo(source="rtsp://x", state="degraded", error="x: \x1b[31mrefused [b]it")},
                "degraded": ["camera door: x: refused", "storage: /s takes no more"],
                "sensors_error": "jtop cannot be used",
                "performance": PerformanceInfo(nvpmodel="MAXP_CORE_ARM", jetson_clocks=True),
            }
        )
        device.describe()
        done = edgectl("status")
    assert done.returncode == 0, done.stderr
    for part in ("tx2-01", "degraded", "mobilenet_v2", "79.1 %", "0123456789ab", "14.2 fps", "p95 15.0 ms", "48.5 °C"):
        assert part in done.stdout
    for part in ("4.12 W VDD_IN", "jtop 4.3", "outbox 0", "camera door degraded: x: [31mrefused [b]it"):
        assert part in done.stdout
    assert "tx2-01, storage: /s takes no more" in done.stdout.splitlines()
    assert "tx2-01, sensors: jtop cannot be used" in done.stdout.splitlines()
    assert "MAXP_CORE_ARM" in done.stdout
    assert "clocks locked" in done.stdout
    assert done.stdout.count("refused") == 1, "told once"
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_is_one_line_per_device_and_shows_the_offline_one(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port, "old-02"):
        pass
    with ScriptedDevice(broker_port):
        done = edgectl("status", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["device"], line["state"]) for line in lines] == [("old-02", "offline"), ("tx2-01", "online")]
    assert lines[1]["answered"] is True
    assert lines[1]["telemetry"]["temp_c"] == {"CPU": 48.5, "GPU": 46.0}
    assert lines[1]["model"]["labels"] == 2


def test_a_device_of_an_earlier_version_is_asked_for_all_of_it(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as new, ScriptedDevice(broker_port, "old-02") as old:
        edgectl("--device", "tx2-01", "status")
        old.info = old.info.model_copy(update={"commands": ["set", "snapshot", "status"]})
        old.describe()
        done = edgectl("status", "--json")
    assert [name for name, _ in new.commands] == ["telemetry", "telemetry"]
    assert [name for name, _ in old.commands] == ["status"]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["answered"], line["telemetry"]["fps"]) for line in lines] == [(True, 14.2)] * 2


def test_a_device_that_does_not_answer_is_called_silent(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port, silent=True):
        done = edgectl("--timeout", "5", "status")
    assert done.returncode == 0
    assert "online, silent" in done.stdout


def test_more_is_kept_of_a_fleet_than_a_broker_queues_for_a_client(
    mosquitto: Callable[..., Mosquitto], edgectl: Edgectl
) -> None:
    """1,500 retained messages; of QoS 1 Mosquitto hands out some 1,000 at once and drops the others."""
    broker = mosquitto(extra="max_queued_messages 1000")  # its default
    golden = Path(__file__).parents[1] / "contract" / "golden"
    names = [f"line-{number:03}" for number in range(500)]
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for name in names:
        client.publish(f"edged/{name}/state", b"offline", qos=1, retain=True)
        for kind in ("info", "model"):
            sent = client.publish(f"edged/{name}/{kind}", (golden / f"{kind}.json").read_bytes(), qos=1, retain=True)
    sent.wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    lines = [json.loads(line) for line in edgectl("--broker", broker.url, "status", "--json").stdout.splitlines()]
    assert [line["device"] for line in lines] == names
    assert all(line["info"] and line["model"] for line in lines)


def test_garbage_from_others_is_passed_over(broker_port: int, edgectl: Edgectl) -> None:
    garbage = (b"", b"\xff\xfe", b"{", b"[]", b'{"v": 2}', b"[" * 20_000)
    with ScriptedDevice(broker_port) as device, ScriptedDevice(broker_port, "bad") as bad:
        for topic in ("info", "model", "telemetry", "job", "state", "state/x/y", "job/1"):
            for payload in garbage:
                bad.say(topic, payload, retain=True)
        bad.say("state", b"[" * 20_000, retain=True)
        device.describe()
        done = edgectl("status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["device"] == "tx2-01"


def test_nobody_there_says_what_was_looked_for(broker_port: int, edgectl: Edgectl) -> None:
    done = edgectl("--prefix", "site", "status")
    assert done.returncode == 3
    assert done.stderr == f"edgectl: no device at mqtt://127.0.0.1:{broker_port} under 'site/'\n"
    with ScriptedDevice(broker_port):
        done = edgectl("--device", "other", "status")
    assert done.returncode == 3
    assert "no device 'other'" in done.stderr
    assert "online: tx2-01" in done.stderr
