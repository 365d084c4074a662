"""A whole `edged run` between real photos and a real Mosquitto: what it says, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from edged.sensors.performance import read_performance
from tests.daemon.running import PHOTOS, Running, Systemd, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
Run = Callable[..., Running]
Watch = Callable[..., Watcher]


def golden(name: str) -> dict[str, Any]:
    return dict(json.loads((GOLDEN / f"{name}.json").read_text()))


def test_no_thread_of_a_matrix_library_waits_for_frames(broker: Mosquitto, run: Run, watch: Watch) -> None:
    """One that waits spins: it takes a whole processor core, where each frame needs a millisecond of it."""

    def started(**variables: str) -> Running:
        seen = watch(broker)
        device = run(broker.url, environment=variables)
        seen.wait("result/main", 3)
        return device

    def threads(device: Running) -> int:
        assert device.process is not None
        return len(list(Path(f"/proc/{device.process.pid}/task").iterdir()))

    without = started(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    expected = threads(without)
    without.stop()
    device = started()
    wait_until(lambda: threads(device) == expected, what=f"{expected} threads, not {threads(device)}")


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")
def test_it_classifies_with_onnx_runtime_and_says_on_what(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    run(
        broker.url,
        cameras=f'[cameras.photos]\nsource = "dir://{PHOTOS}"',
        environment={"EDGED_MODEL__RUNTIME": "onnx", "EDGED_MODEL__PROVIDERS": '["never_heard_of"]'},
    )
    labels = " ".join(result["label"] for result in seen.wait("result/photos", 12))
    assert "space shuttle" in labels or "missile" in labels
    info = seen.wait("info")[-1]
    assert (info["runtime"], info["providers"]) == ("onnx", ["cpu"])
    assert "onnxruntime" in info["versions"]


def test_photos_go_in_and_the_contract_comes_out(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras=f'[cameras.photos]\nsource = "dir://{PHOTOS}"')
    results = seen.wait("result/photos", 30)
    like = golden("result")
    for result in results:
        assert result.keys() == like.keys()
        assert result["latency_ms"].keys() == like["latency_ms"].keys()
        assert result["camera"] == "photos"
        assert (result["label"], result["score"]) == (result["top"][0]["label"], result["top"][0]["score"])
        assert len(result["top"]) == 5
    labels = " ".join(result["label"] for result in results)
    assert "space shuttle" in labels or "missile" in labels
    telemetry = seen.wait("telemetry", 3)[-1]
    assert telemetry.keys() <= golden("telemetry").keys() | {"clock_mhz"}
    assert {"v", "ts", "fps", "frames", "dropped", "outbox", "load"} <= telemetry.keys()
    assert None not in telemetry.values()
    assert telemetry["dropped"] == 0, "a folder waits for the network"

    late = watch(broker)
    wait_until(lambda: {"state", "info", "model"} <= late.retained().keys(), what="retained state")
    retained = late.retained()
    assert retained["state"] == b"online"
    info, model = json.loads(retained["info"]), json.loads(retained["model"])
    optional = {"degraded", "sensors_error", "performance"}
    assert golden("info").keys() - optional <= info.keys() <= golden("info").keys() - {"degraded"}
    told = {name: value for name, value in asdict(read_performance()).items() if value not in (None, {})}
    assert info.get("performance", {}).keys() == told.keys(), "what this machine tells, and nothing else"
    assert (info["state"], info["device"], info["runtime"]) == ("running", "dut", "litert")
    assert info["cameras"]["photos"]["state"] == "running"
    assert {"snapshot", "status", "set"} <= set(info["commands"])
    assert model.keys() >= golden("model").keys() - {"previous"}
    assert model["id"] == results[0]["model"]
    assert len(model["labels"]) == 1000

    assert device.stop() == 0
    seen.wait_for_state("online", "offline")
    seqs = [result["seq"] for result in seen.decoded("result/photos")]
    assert seqs == list(range(len(seqs))), "every frame, in order, the last one too"
    assert f"stopped after {len(seqs)} frames" in device.log
    after = watch(broker)
    wait_until(lambda: after.retained().get("state") == b"offline", what="offline, retained")


def test_two_cameras_each_with_its_own_part_of_the_frame(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    cameras = (
        '[cameras.left]\nsource = "pattern"\nroi = [0, 0, 0.5, 1]\n'
        '[cameras.right]\nsource = "pattern"\nroi = [0.5, 0.25, 0.25, 0.5]'
    )
    device = run(broker.url, cameras=cameras)
    left, right = seen.wait("result/left", 30), seen.wait("result/right", 30)
    left, right = left[:25], right[:25]
    for results in (left, right):
        assert [result["seq"] for result in results] == list(range(25))

    sizes = {}
    for camera in ("left", "right"):
        _, job, id_ = seen.command("snapshot", camera=camera, quality=80)
        assert job is not None
        report = job["report"]
        assert report["camera"] == camera
        image = cv2.imdecode(np.frombuffer(seen.of(f"image/{id_}")[0], np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[:2] == (report["height"], report["width"])
        sizes[camera] = (report["width"], report["height"])
    assert sizes == {"left": (320, 480), "right": (160, 240)}
    assert device.stop() == 0


def test_only_changes_and_a_heartbeat(broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", photos)
    seen = watch(broker)
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "dir://{photos}"',
        mqtt='results = "changes"\nheartbeat_s = 2\nsmoothing = 0.5',
    )
    results = seen.wait("result/main", 3)[:3]
    assert [result["seq"] for result in results] == [0, 1, 2], "what is not published has no number"
    captured = [datetime.fromisoformat(result["ts"].replace("Z", "+00:00")).timestamp() for result in results]
    latency_s = [result["latency_ms"]["total"] / 1000 for result in results]
    # A frame is captured before its result is judged and made after that, however long a slow machine takes between.
    pauses = [captured[later] + latency_s[later] - captured[later - 1] for later in (1, 2)]
    assert min(pauses) > 1.99, "only heartbeats"
    first = results[0]["label"]
    shutil.copy(PHOTOS / "rocket.jpg", photos)  # the folder is listed again for every round
    wait_until(lambda: any(result["label"] != first for result in seen.decoded("result/main")), what="a change")
    assert device.stop() == 0


def test_commands_are_answered_while_frames_go_on(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main", 3)
    seen.wait("telemetry")
    ack, job, _ = seen.command("status")
    assert ack["status"] == "accepted"
    assert job is not None
    assert (job["status"], job["cmd"], job["progress"]) == ("succeeded", "status", 1)
    assert {"info", "model", "telemetry"} <= job["report"].keys()
    assert job["report"]["model"]["labels"] == 1000

    before = len(seen.decoded("telemetry"))
    id_ = seen.send("telemetry")
    assert seen.wait(f"ack/{id_}")[0]["status"] == "accepted"
    stamps = [one["ts"] for one in seen.decoded("telemetry")[before - 1 :]]
    assert len(set(stamps)) < len(stamps), "the newest message came once more, before the ack"
    assert seen.decoded(f"job/{id_}") == [], "it is done with its ack"

    _, job, id_ = seen.command("snapshot")
    assert job is not None
    jpeg = seen.of(f"image/{id_}")[0]
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert job["report"]["bytes"] == len(jpeg)
    assert job["report"].keys() >= golden("result").keys()

    seen.command("set", top=2, camera="main", fps=50)
    before = len(seen.of("result/main"))
    assert len(seen.wait("result/main", before + 5)[-1]["top"]) == 2
    for args, reason in (
        ({"camera": "attic", "fps": 1}, "camera attic: unknown; this device has main"),
        ({}, "nothing to set"),
    ):
        _, job, _ = seen.command("set", **args)
        assert job is not None
        assert job["status"] == "failed"
        assert reason in job["error"]
    for name, args, reason in (
        ("set", {"fps": -1}, "fps"),
        ("set", {"speed": 1}, "speed"),
        ("reboot", {}, "reboot"),
    ):
        ack, job, _ = seen.command(name, **args)
        assert (ack["status"], job) == ("rejected", None)
        assert reason in ack["error"]
    assert not seen.of("job"), "these jobs do not hide the last training's"
    results = len(seen.of("result/main"))
    seen.wait("result/main", results + 3)
    assert device.stop() == 0


def test_a_camera_that_is_not_there_is_degraded_and_comes_back(
    broker: Mosquitto, run: Run, watch: Watch, systemd: Systemd, tmp_path: Path
) -> None:
    photos = tmp_path / "later"
    seen = watch(broker)
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "dir://{photos}"\nfps = 10',
        environment={"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "600000"},
    )
    wait_until(lambda: any(info["state"] == "degraded" for info in seen.decoded("info")), what="degraded")
    camera = seen.decoded("info")[-1]["cameras"]["main"]
    assert camera["state"] == "degraded"
    assert str(photos) in camera["error"]
    assert "does not exist" in camera["error"]
    wait_until(lambda: systemd.told().count("WATCHDOG=1") >= 3, what="watchdog without frames")
    assert "READY=1" not in systemd.told()
    assert device.running

    photos.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", photos)
    seen.wait("result/main", 2)
    wait_until(lambda: "READY=1" in systemd.told(), what="READY")
    wait_until(lambda: seen.decoded("info")[-1]["state"] == "running", what="running")
    shutil.rmtree(photos)
    wait_until(lambda: seen.decoded("info")[-1]["state"] == "degraded", what="degraded again")
    assert device.log.count("does not exist; retrying") <= 2, "told once per loss"
    assert device.stop() == 0
    wait_until(lambda: "STOPPING=1" in systemd.told(), what="STOPPING")


def test_a_file_that_does_not_loop_ends_and_the_daemon_stays(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras=f'[cameras.main]\nsource = "dir://{PHOTOS}"\nloop = false')
    wait_until(
        lambda: seen.decoded("info") and seen.decoded("info")[-1]["cameras"]["main"]["state"] == "ended", what="ended"
    )
    assert len(seen.wait("result/main", 6)) == 6
    _, job, _ = seen.command("snapshot")
    assert job is not None
    assert job["report"]["seq"] == 5
    assert device.stop() == 0


def test_a_gap_in_seq_is_a_lost_result_and_a_new_boot_a_restart(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras='[cameras.main]\nsource = "pattern"\nfps = 500')  # more than can be classified
    boots = []
    for _ in range(2):
        wait_until(lambda: [one for one in seen.decoded("telemetry") if one["dropped"] > 0], what="dropped frames")
        boots.append(seen.decoded("telemetry")[-1]["boot"])
        assert seen.decoded("info")[-1]["boot"] == boots[-1]
        count = len(seen.of("result/main"))
        seen.wait("result/main", count + 20)
        assert device.stop() == 0
        seen.wait_for_state("online", "offline")
        seqs = [result["seq"] for result in seen.decoded("result/main") if result["boot"] == boots[-1]]
        assert seqs == list(range(len(seqs)))
        assert len(seqs) >= 20
        seen.forget()
        device.start()
    assert len(set(boots)) == 2
    assert all(re.fullmatch("[0-9a-f]{8}", boot) for boot in boots)
    device.kill()


def test_killed_it_leaves_its_last_will(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main", 1)
    device.kill()
    seen.wait_for_state("online", "offline")
    device.start()
    seen.wait_for_state("online", "offline", "online")
    assert device.stop() == 0


_HELD = """
import os, signal, sys
from edged.cli import main
from edged.daemon import supervision

notify_stopping = supervision.notify_stopping

def held():
    notify_stopping()
    os.kill(os.getpid(), signal.SIGSTOP)

supervision.notify_stopping = held
sys.exit(main(sys.argv[4:]))
"""
"""`edged run`, which stands still once it has said that it stops: it cannot be over before it gets another signal."""


def test_a_second_signal_ends_it_at_once(broker: Mosquitto, tmp_path: Path, watch: Watch, systemd: Systemd) -> None:
    seen = watch(broker)
    device = Running(tmp_path / "device", broker.url)
    device.start(sys.executable, "-c", _HELD, NOTIFY_SOCKET=str(systemd.path))
    try:
        seen.wait("result/main", 3)
        broker.pause()  # nothing is acknowledged any more, and a stop would wait for it
        device.signal(signal.SIGTERM)
        wait_until(lambda: "STOPPING=1" in systemd.told(), what="the first signal")
        assert device.process is not None
        process = psutil.Process(device.process.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, what="the stop that stands still")
        device.signal(signal.SIGTERM)
        device.signal(signal.SIGCONT)
        assert device.wait() == -signal.SIGTERM
    finally:
        device.kill()
    assert "second signal, leaving at once" in device.log
    broker.go_on()
