"""Debian's Prometheus scrapes a real daemon, and the alert rules that ship fire for what is done to it.

Without the time for which a state must last: for that, promtool tests the rules (tests/metrics).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.resources import shipped
from edged.store import Store, read_labels
from tests.conftest import REPOSITORY
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.metrics.dashboard import queries
from tests.mosquitto import HOST, Mosquitto, free_port
from tests.prometheus import Prometheus
from tests.waiting import wait_until

pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")

SHIPPED = shipped("models") / "mobilenet_v2"


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[int], Prometheus]]:
    """Start one that scrapes a port, with the rules that ship; no state must last."""
    made: list[Prometheus] = []

    def start(port: int) -> Prometheus:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        rules = (REPOSITORY / "configs" / "prometheus-rules.yml").read_text(encoding="utf-8")
        (folder / "rules.yml").write_text(re.sub(r"^( +for: ).+$", r"\g<1>0s", rules, flags=re.MULTILINE))
        made.append(Prometheus(folder, [f"{HOST}:{port}"], folder / "rules.yml"))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


class Cooling:
    """The kernel's cooling devices, as one daemon sees them.

    Args:
        folder: Stands in the place of /sys/class/thermal.
    """

    def __init__(self, folder: Path) -> None:
        self._state = folder / "cooling_device0/cur_state"
        self._state.parent.mkdir(parents=True)
        self._state.with_name("type").write_text("cpufreq-cpu0\n")
        self.slow(0)
        # For its user alone, whom a user namespace makes root; where that may not mount, the device is not seen.
        mount = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        self.prefix = [*mount, "sh", "-c", f'mount --bind "{folder}" /sys/class/thermal && exec "$@"', "sh"]
        tried = shutil.which("unshare") and subprocess.run([*self.prefix, "true"], capture_output=True, check=False)
        self.seen = bool(tried) and tried.returncode == 0

    def slow(self, state: int) -> None:
        """Slow the machine down so far; 0: not at all."""
        self._state.write_text(f"{state}\n")


def empty(server: Prometheus, telemetry: dict[str, Any]) -> list[tuple[str, str]]:
    """Queries of the dashboard that ships without an answer, but for what this machine cannot tell."""
    sensors = {"Temperature": "temp_c", "Power": "power_mw", "Load": "load", "Clocks": "clock_mhz"}
    absent = {title for title, key in {**sensors, "Speed": "throttled"}.items() if key not in telemetry}
    absent |= {"Drift", "Last retraining"}  # a minute of frames is too few, and none has succeeded
    return [(title, query) for title, query in queries() if title not in absent and not server.query(query)]


def test_alerts_fire_for_what_happens_to_a_daemon(
    request: pytest.FixtureRequest,
    broker: Mosquitto,
    watch: Callable[..., Watcher],
    prometheus: Callable[[int], Prometheus],
    tmp_path: Path,
) -> None:
    port = free_port()
    server = prometheus(port)
    server.wait_for_alert("EdgedOffline", instance=f"{HOST}:{port}")

    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", photos)
    Store(tmp_path / "device/state").add(
        (SHIPPED / "model.tflite").read_bytes(),
        read_labels(SHIPPED / "labels.txt"),
        name="worse",
        width=224,
        height=224,
        accuracy={"quantized": {"top1": 0.7}},
    )
    seen = watch(broker)
    cooling = Cooling(tmp_path / "thermal")
    device = Running(
        tmp_path / "device",
        broker.url,
        cameras=f'[cameras.main]\nsource = "pattern"\nfps = 5\n[cameras.door]\nsource = "dir://{photos}"\nfps = 1',
        more=f'[metrics]\nlisten = "{HOST}:{port}"',
    )
    request.addfinalizer(device.kill)
    device.start(*(cooling.prefix if cooling.seen else ()))
    server.wait_for_answer('rate(edged_frames_total{camera="main"}[1m]) > 0')
    server.wait_for_answer("edged_mqtt_connected == 1 and on() min(edged_camera_up) == 1")
    wait_until(lambda: not server.firing(), what="no alert")
    ((about, _),) = server.wait_for_answer("edged_info")
    assert (about["device"], about["job"]) == ("dut", "edged")
    ((stage, seconds),) = server.wait_for_answer(
        'histogram_quantile(0.5, sum by (le, stage) (edged_frame_latency_seconds_bucket{camera="main",stage="invoke"}))'
    )
    invoke = [result["latency_ms"]["invoke"] / 1e3 for result in seen.decoded("result/main")]
    assert stage == {"stage": "invoke"}
    assert min(invoke) / 2.5 < seconds < max(invoke) * 2.5, "within a bucket's width of what was published"

    seen.command("retrain", lr=0.1)  # of no images: a job that ends at once
    telemetry = seen.wait("telemetry")[-1]
    wait_until(lambda: not empty(server, telemetry), what="an answer to every query of the dashboard")
    if cooling.seen:
        server.wait_for_answer("edged_throttled == 0")
        cooling.slow(3)
        server.wait_for_alert("EdgedThrottled", instance=f"{HOST}:{port}")
    shutil.rmtree(photos)
    server.wait_for_alert("EdgedCameraLost", camera="door")
    assert "EdgedAccuracyFell" not in server.firing()
    _, job, _ = seen.command("models_use", model="worse")
    assert job is not None
    assert job["status"] == "succeeded", job
    server.wait_for_alert("EdgedAccuracyFell")
    assert not server.firing().keys() & {"EdgedOutboxGrows", "EdgedBrokerLost"}
    seen.command("set", camera="main", fps=30)  # and a hundred results come soon
    broker.kill()
    server.wait_for_alert("EdgedBrokerLost")
    server.wait_for_alert("EdgedOutboxGrows")
    broker.start()
    wait_until(lambda: not server.firing().keys() & {"EdgedOutboxGrows", "EdgedBrokerLost"}, what="all sent")
    device.kill()
    server.wait_for_alert("EdgedOffline")
    if not cooling.seen:
        pytest.skip("EdgedThrottled alone was not tried: needs to mount a folder over /sys/class/thermal")
