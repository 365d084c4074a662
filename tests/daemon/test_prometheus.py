"""Debian's Prometheus scrapes a real daemon, and the alert rules that ship fire for what is done to it.

Without the time for which a state must last: for that, promtool tests the rules (tests/metrics).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged.resources import shipped
from edged.store import Store, read_labels
from tests.conftest import REPOSITORY
from tests.daemon.running import PHOTOS, Running, Watcher
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


def test_alerts_fire_for_what_happens_to_a_daemon(
    broker: Mosquitto,
    run: Callable[..., Running],
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
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "pattern"\nfps = 20\n[cameras.door]\nsource = "dir://{photos}"\nfps = 1',
        more=f'[metrics]\nlisten = "{HOST}:{port}"',
    )
    wait_until(lambda: server.query('rate(edged_frames_total{camera="main"}[1m]) > 0'), what="a rate of frames")
    wait_until(lambda: server.query("edged_mqtt_connected == 1 and on() min(edged_camera_up) == 1"), what="all well")
    wait_until(lambda: not server.firing(), what="no alert")
    ((about, _),) = server.query("edged_info")
    assert (about["device"], about["job"]) == ("dut", "edged")
    ((stage, seconds),) = server.query(
        'histogram_quantile(0.5, sum by (le, stage) (edged_frame_latency_seconds_bucket{camera="main",stage="invoke"}))'
    )
    invoke = [result["latency_ms"]["invoke"] / 1e3 for result in seen.decoded("result/main")]
    assert stage == {"stage": "invoke"}
    assert min(invoke) / 2.5 < seconds < max(invoke) * 2.5, "within a bucket's width of what was published"

    shutil.rmtree(photos)
    server.wait_for_alert("EdgedCameraLost", camera="door")
    assert "EdgedAccuracyFell" not in server.firing()
    _, job, _ = seen.command("models_use", model="worse")
    assert job is not None
    assert job["status"] == "succeeded", job
    server.wait_for_alert("EdgedAccuracyFell")
    assert not server.firing().keys() & {"EdgedOutboxGrows", "EdgedBrokerLost"}
    broker.kill()
    server.wait_for_alert("EdgedBrokerLost")
    server.wait_for_alert("EdgedOutboxGrows")
    broker.start()
    wait_until(lambda: not server.firing().keys() & {"EdgedOutboxGrows", "EdgedBrokerLost"}, what="all sent")
    device.kill()
    server.wait_for_alert("EdgedOffline")


def test_an_alert_fires_for_a_machine_that_slows_itself_down(
    broker: Mosquitto, own_mounts: list[str], prometheus: Callable[[int], Prometheus], tmp_path: Path
) -> None:
    thermal = tmp_path / "thermal"
    (thermal / "cooling_device0").mkdir(parents=True)
    (thermal / "cooling_device0/type").write_text("cpufreq-cpu0\n")
    state = thermal / "cooling_device0/cur_state"
    state.write_text("0\n")
    mounted = [*own_mounts, "sh", "-c", f'mount --bind "{thermal}" /sys/class/thermal && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs to mount a folder over /sys/class/thermal")
    port = free_port()
    device = Running(tmp_path / "device", broker.url, more=f'[metrics]\nlisten = "{HOST}:{port}"').start(*mounted)
    try:
        server = prometheus(port)
        wait_until(lambda: server.query("edged_throttled == 0"), what="a machine at full speed")
        assert "EdgedThrottled" not in server.firing()
        state.write_text("3\n")
        server.wait_for_alert("EdgedThrottled", instance=f"{HOST}:{port}")
        assert device.stop() == 0
    finally:
        device.kill()
