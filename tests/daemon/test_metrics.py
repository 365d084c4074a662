"""A real daemon's metrics over HTTP: they say what its messages say."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.contract.messages import Job
from edged.daemon import telemetry
from edged.mqtt.ledger import Ledger
from edged.types import Reading
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.mosquitto import HOST, Mosquitto, free_port
from tests.prometheus import promtool
from tests.waiting import PATIENCE_S, wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]
ONCE = f'[cameras.main]\nsource = "dir://{PHOTOS}"\nloop = false\n[cameras.lost]\nsource = "/dev/video99"'


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
        return text


def values(port: int) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in page(port).splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def of(told: dict[str, float], metric: str) -> dict[str, float]:
    """The series of a metric with one label beside `camera`, by that label's value."""
    found = {name: re.fullmatch(rf'{metric}\{{(?:camera="main",)?\w+="(.*)"\}}', name) for name in told}
    return {match[1]: told[name] for name, match in found.items() if match}


def test_a_daemon_s_metrics_say_what_its_messages_say(broker: Mosquitto, run: Run, watch: Watch) -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")
    port = free_port()
    listening = f'[metrics]\nlisten = "{HOST}:{port}"'
    seen = watch(broker)
    device = run(broker.url, cameras=ONCE, more=listening)
    results = seen.wait("result/main", 6)
    wait_until(lambda: seen.decoded("info")[-1]["cameras"]["main"]["state"] == "ended", what="the end of the photos")
    _, job, _ = seen.command("retrain")
    assert job is not None
    newest = seen.wait("telemetry", len(seen.of("telemetry")) + 1)[-1]
    wait_until(lambda: values(port)["edged_outbox_messages"] == 0, what="all acknowledged")
    told = values(port)

    assert of(told, "edged_results_total") == Counter(result["label"] for result in results)
    assert told['edged_frames_total{camera="main"}'] == newest["frames"] == 6
    for stage in ("capture", "preprocess", "invoke", "total"):
        name = f'edged_frame_latency_seconds_%s{{camera="main",stage="{stage}"}}'
        assert told[name % "count"] == 6
        assert told[name % "sum"] == pytest.approx(sum(result["latency_ms"][stage] for result in results) / 1e3)
    familiar = 'edged_frame_familiarity_ratio_sum{camera="main"}'
    assert told[familiar] == pytest.approx(sum(result["familiarity"] for result in results))
    assert of(told, "edged_camera_up") == {"lost": 0}, "and a folder that has ended is neither up nor lost"
    assert (
        of(told, "edged_frames_dropped_total") == {"main": 0, "lost": 0}
        or told['edged_frames_dropped_total{camera="main"}'] == newest["dropped"]
    )

    info, model = seen.decoded("info")[-1], seen.decoded("model")[-1]
    about = {"device": "dut", "runtime": info["runtime"], "sensors": info["sensors"]}
    (line,) = [name for name in told if name.startswith("edged_info{")]
    assert all(f'{key}="{value}"' in line for key, value in about.items()), line
    assert f'edged_model_info{{backbone="{model["backbone"]}",id="{model["id"]}",name="{model["name"]}"}}' in told
    assert told["edged_model_accuracy_ratio"] == model["accuracy"]
    assert told["edged_model_labels"] == len(model["labels"])
    assert (told["edged_mqtt_connected"], told["edged_outbox_bytes"]) == (1, 0)
    assert told["edged_alert_active{" + 'alert="drift"}'] == 0

    assert of(told, "edged_load_ratio").keys() == newest.get("load", {}).keys()
    assert of(told, "edged_temperature_celsius").keys() == newest.get("temp_c", {}).keys()
    assert ("edged_throttled" in told) == ("throttled" in newest)
    assert told["process_resident_memory_bytes"] > 10e6

    ended = f'edged_jobs_total{{command="retrain",status="{job["status"]}"}}'
    dated = f'edged_retrain_last_timestamp_seconds{{status="{job["status"]}"}}'
    assert told[ended] == 1
    text = page(port)
    assert device.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))

    ledger = Ledger(device.state_dir / "commands.sqlite")
    ledger.accept("another-version", "retrain", b"")
    ledger.record(Job(id="another-version", cmd="retrain", status="failed"), b'{"status": "postponed"}')
    ledger.close()
    device.start()
    device.wait_for_log("metrics: http://", count=2)
    again = values(port)
    assert again[ended] == 0
    assert again[dated] == told[dated], "an earlier start's training is remembered"
    assert device.stop() == 0
    assert promtool("check", "metrics", stdin=text.encode()) == (0, "")  # last: where it is not, this skips


def test_a_port_that_is_taken_costs_no_frame(broker: Mosquitto, run: Run, watch: Watch) -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")
    seen = watch(broker)
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        device = run(broker.url, more=f'[metrics]\nlisten = "{HOST}:{port}"')
        line = f"metrics: http://{HOST}:{port}/metrics: cannot listen: Address already in use"
        wait_until(lambda: seen.of("info") and seen.decoded("info")[-1].get("degraded") == [line], what=line)
        seen.wait("result/main", len(seen.of("result/main")) + 3)
    assert device.log.count(line) == 1
    assert device.stop() == 0


class Counting:
    """Sensors of a machine whose processor's temperature tells how often they were read."""

    name, problem = "counting", None

    def __init__(self) -> None:
        self.count = 0

    def read(self) -> Reading:
        self.count += 1
        return Reading(temp_c={"CPU": self.count})

    def close(self) -> None:
        pass


@pytest.mark.parametrize("often", [True, False])
def test_sensors_are_read_often_only_where_somebody_asks(monkeypatch: pytest.MonkeyPatch, often: bool) -> None:
    monkeypatch.setattr(telemetry, "_LOOK_S", 0.01)
    sensors, looked = Counting(), []
    nothing: Any = None  # no message is due within a day
    thread = telemetry.TelemetryThread(
        sensors,
        nothing,
        nothing,
        dropped=lambda: 0,
        interval_s=86400,
        often=often,
        drift=lambda: looked.append(1) or {},
    )
    assert thread.recent is None
    thread.start()
    wait_until(lambda: len(looked) >= 3, what="three looks")
    newest, count = thread.recent, sensors.count
    thread.stop(PATIENCE_S)
    assert (newest is not None, count >= 2) == (often, often)
    monkeypatch.setattr(telemetry, "_STALE_S", 0.0)
    assert thread.recent is None, "what sensors said that answer no more is not told for ever"


def test_without_the_library_only_a_daemon_that_needs_it_does_not_start(
    broker: Mosquitto, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not here')\n")
    missing = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    device = run(broker.url, folder="wants", more=f'[metrics]\nlisten = "{HOST}:{free_port()}"', environment=missing)
    assert device.wait() == 2
    assert len(device.log.splitlines()) == 1
    assert "prometheus-client is not installed: pip install 'edged[metrics]'" in device.log
    assert not (device.state_dir / "outbox.sqlite").exists(), "nothing was begun"
    other = run(broker.url, folder="does-not", environment=missing)
    other.wait_for_log("first result")
    assert other.stop() == 0
