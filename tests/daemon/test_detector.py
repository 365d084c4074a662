"""A detector finds what is classified, on a real daemon, a real broker and the real LiteRT."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.daemon.detection import Detection, open_detections
from edged.daemon.loop import GIVE_UP_FRAMES
from edged.errors import ConfigError
from edged.regions import overlap
from edged.settings import load
from edged.store import Store
from edged.types import Box, Frame
from edged.vision.detector import Detector
from edged.zoo.detectors import install_detector
from tests.crafted import hungry
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.detectors import ROLES, TF2, Kind, crashing, make, wall
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

PLACES = {"Egyptian cat": ("cat", 40, 30), "espresso": ("coffee", 220, 90)}


def image() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return wall(*((PHOTOS / f"{photo}.jpg", left, top) for photo, left, top in PLACES.values()))


def truth(label: str) -> Box:
    _, left, top = PLACES[label]
    return left / 320, top / 180, 64 / 320, 64 / 180


def still(folder: Path) -> str:
    """Return the source of a camera before which two things hang on a wall: nothing in it ever moves."""
    folder.mkdir()
    cv2.imwrite(str(folder / "wall.png"), cv2.cvtColor(image(), cv2.COLOR_RGB2BGR))
    return f"dir://{folder}"


def test_what_a_detector_finds_is_classified(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    edgectl: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    seen = watch(broker)
    store = Store(tmp_path / "state")
    install_detector(store, make(Kind(quantized=False, outputs=TF2)), name="bright", origin="here")
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "{still(tmp_path / "wall")}"\nfps = 10\nregions = "detector:bright"',
        state_dir=tmp_path / "state",
    )
    wait_until(lambda: len({result["track"] for result in seen.decoded("result/main")}) == 2, what="both")
    for result in seen.decoded("result/main")[:4]:
        assert overlap(result["box"], truth(result["label"])) > 0.6
        latency = result["latency_ms"]
        assert 0 < latency["detect"] < latency["total"]
    # One message may tell of both at once, where the device was slow to find the first.
    wait_until(lambda: any(one.get("regions") for one in seen.decoded("label/main")), what="a label of a region")
    told = next(label["regions"] for label in reversed(seen.decoded("label/main")) if label.get("regions"))
    assert {region["label"] for region in told} <= set(PLACES)
    wait_until(lambda: stands(store) == (1, True), what="the proof")

    file = tmp_path / "other.tflite"
    file.write_bytes(make())
    pushed = edgectl("models", "push", str(file), "--detector")
    out, err = pushed.communicate(timeout=PATIENCE_S)
    assert (pushed.returncode, "other (" in out, "a detector, installed" in out) == (0, True, True), err
    assert cameras_of_detectors(seen) == {"bright": ["main"], "other": []}
    _, job, _ = seen.command("models_use", model="other")
    assert job is not None
    assert "other is a detector, which names nothing" in job["error"]
    _, job, _ = seen.command("models_remove", model="bright")
    assert job is not None
    assert "bright is what cameras.main.regions says and stays" in job["error"]
    _, job, _ = seen.command("models_remove", model="other")
    assert job is not None
    assert (job["report"]["removed"], job["report"]["kind"]) == ("other", "detector")

    _, job, _ = seen.command("detectors_add", sha256="0" * 64, name="bright", replace=True)
    assert job is not None
    assert "bright is what cameras.main.regions says and stays; send this one under another name" in job["error"]

    file.write_bytes(crashing())
    pushed = edgectl("models", "push", str(file), "--detector")
    out, err = pushed.communicate(timeout=PATIENCE_S)
    assert (pushed.returncode, out) == (1, "")
    assert "other: ends the process that runs it: the examination was killed by signal" in err
    assert cameras_of_detectors(seen) == {"bright": ["main"]}
    before = len(seen.of("result/main"))
    seen.wait("result/main", before + 2)

    device.config.write_text(device.config.read_text().replace("fps = 10", "fps = 10\nscore_threshold = 1.0"))
    device.signal(signal.SIGHUP)
    wait_until(lambda: len([r for r in seen.decoded("result/main") if r.get("ended")]) == 2, what="the end of both")
    assert "from now on cameras.main.score_threshold = 1.0" in device.log
    assert device.stop() == 0
    assert stands(store) == (0, True), "an end in order is held against nobody"


def stands(store: Store) -> tuple[int, bool]:
    """How the trial of the detector stands: starts, and whether it is proven."""
    trial = store.detectors.find("bright").trial
    assert trial is not None
    return trial.starts, trial.proven


def cameras_of_detectors(seen: Watcher) -> dict[str, Any]:
    _, job, _ = seen.command("models_list")
    assert job is not None
    return {row["name"]: row["cameras"] for row in job["report"]["models"] if row["kind"] == "detector"}


def test_without_its_detector_edged_does_not_start(run: Callable[..., Running], tmp_path: Path) -> None:
    state = tmp_path / "device" / "state"
    store = Store(state)
    shipped = store.find("mobilenet_v2")
    other = store.add(shipped.read_model() + b"x", shipped.labels, name="other", width=224, height=224)
    store.promote(other, "mobilenet_v2")
    device = run("mqtt://localhost:1", cameras='[cameras.main]\nsource = "pattern"\nregions = "detector:mobilenet_v2"')
    assert device.wait() == 2
    assert json.loads((state / "trial.json").read_bytes())["starts"] == 0, "that is no fault of the model"
    told = "edged: cameras.main.regions = 'detector:mobilenet_v2': mobilenet_v2 is a classifier, and no detector"
    assert device.log.splitlines()[-1].startswith(told)
    settings = load(None, {"cameras": {"door": {"regions": "detector:bright"}}})
    with pytest.raises(ConfigError, match="no detector 'bright' is installed; installed: none") as caught:
        open_detections(settings, Store(tmp_path).detectors)
    assert caught.value.key == "cameras.door.regions"


def frames(count: int) -> list[Frame]:
    return [Frame("main", at, image(), at * 10**8, 0.0, 0.0, regions=()) for at in range(count)]


def test_things_are_named_in_the_third_frame_and_keep_their_names() -> None:
    detection = Detection("main", Detector(make()), 0.5)
    found = [detection(frame) for frame in frames(5)]
    assert [len(frame.regions or ()) for frame in found] == [0, 0, 2, 2, 2]
    assert {region.track for frame in found for region in frame.regions or ()} == {"1", "2"}
    assert all(frame.detect_ms is not None and frame.detect_ms > 0 for frame in found)


def test_what_is_missed_in_each_third_frame_is_named_and_followed() -> None:
    detection = Detection("main", Detector(make()), 0.5)
    nothing = np.zeros_like(image())
    found = [
        detection(replace(frame, image=nothing) if at % 3 == 2 else frame).regions or ()
        for at, frame in enumerate(frames(12))
    ]
    assert [len(regions) for regions in found] == [0] * 3 + [2] * 9
    assert {region.track for regions in found for region in regions} == {"1", "2"}
    assert [all(region.visible for region in regions) for regions in found[3:]] == [at % 3 != 2 for at in range(3, 12)]


def test_a_detector_that_looks_once_in_two_seconds_names_what_it_finds() -> None:
    detection = Detection("main", Detector(make()), 0.5)
    slow = [replace(frame, captured_ns=at * 2 * 10**9) for at, frame in enumerate(frames(6))]
    nothing = np.zeros_like(image())
    found = [
        detection(replace(frame, image=nothing) if at in (0, 3) else frame).regions or ()
        for at, frame in enumerate(slow)
    ]
    assert [[region.track for region in regions] for regions in found] == [[], []] + [["2", "1"]] * 4


def test_cameras_with_the_same_detector_share_it_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    install_detector(store, make(), name="bright", origin="here")
    wanted = {"regions": "detector:bright"}
    cameras = {"a": wanted, "b": {**wanted, "score_threshold": 1}, "c": {"regions": "motion"}, "d": {}}
    settings = load(None, {"cameras": cameras, "model": {"runtime": "onnx"}, "storage": {"state_dir": tmp_path}})
    detections = open_detections(settings, store.detectors)
    assert set(detections) == {"a", "b"}
    assert detections["a"]._detector is detections["b"]._detector
    for frame in frames(3):
        found = {name: detection(frame) for name, detection in detections.items()}
    assert {name: len(frame.regions or ()) for name, frame in found.items()} == {"a": 2, "b": 0}


def test_a_detector_that_fails_finds_nothing_and_is_given_up_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    detection = Detection("main", Detector(make(Kind(options=(("nms_iou_threshold", 2.0),)))), 0.5)
    told: list[str | None] = []
    detection.changed = lambda: told.append(detection.trouble)
    *most, last = frames(GIVE_UP_FRAMES)
    assert {detection(frame).regions for frame in most} == {()}
    assert caplog.text.count("camera 'main': the detector fails: invocation failed") == 1
    assert told == []
    assert detection(last).regions == (), "what was followed ends with it"
    assert {detection(frame).regions for frame in most} == {None}
    (trouble,) = told
    assert trouble is not None
    assert trouble.startswith("camera main: classified whole, there is no working detector: invocation failed")


def test_a_hundred_failures_in_a_moment_are_a_hiccup() -> None:
    detection = Detection("main", Detector(make(Kind(options=(("nms_iou_threshold", 2.0),)))), 0.5)
    for frame in frames(GIVE_UP_FRAMES + 5):
        assert detection(replace(frame, captured_ns=frame.captured_ns // 100)).regions == ()
    assert detection.trouble is None


def test_boxes_of_one_thing_are_one_region() -> None:
    """A detector may tell a thing twice: once for each class that it might be."""
    detector = Detector(make(Kind(options=(("nms_iou_threshold", 0.99),))))
    told = [one.box for one in detector.detect(image(), 0.5)]
    assert [one for at, one in enumerate(told) if any(overlap(one, other) > 0.8 for other in told[:at])]
    detection = Detection("main", detector, 0.5)
    for frame in frames(4):
        regions = detection(frame).regions or ()
    boxes = [region.box for region in regions]
    assert boxes
    assert all(overlap(one, other) < 0.8 for at, one in enumerate(boxes) for other in boxes[:at])


def test_failures_that_pass_are_forgotten() -> None:
    sound, broken = Detector(make()), Detector(make(Kind(options=(("nms_iou_threshold", 2.0),))))
    detection = Detection("main", sound, 0.5)
    for detector, times in ((broken, GIVE_UP_FRAMES - 1), (sound, 1), (broken, GIVE_UP_FRAMES - 1)):
        detection._detector = detector
        for frame in frames(times):
            assert detection(frame).regions is not None
    assert detection.trouble is None


def test_a_detector_that_takes_the_device_down_is_left_out_at_the_next_start(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    """As one does that no examination has seen fail. And what is sent then has to look at this camera's frames."""
    seen, store = watch(broker), Store(tmp_path / "state")
    said = {"name": "bright", "input": {"width": 224, "height": 224}, "outputs": ROLES, "most": 2}
    bad = store.detectors.add(crashing(), said)
    (tmp_path / "white").mkdir()
    cv2.imwrite(str(tmp_path / "white" / "white.png"), np.full((180, 320, 3), 255, np.uint8))
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "dir://{tmp_path}/white"\nfps = 10\nregions = "detector:bright"',
        state_dir=tmp_path / "state",
    )
    assert device.process is not None
    assert device.process.wait(PATIENCE_S) < 0
    device.start()
    seen.wait("result/main", 3)
    assert "box" not in seen.decoded("result/main")[-1]
    line = (
        f"camera main: classified whole, there is no working detector: detector bright ({bad.id}) was given up: the "
        "daemon ended while it was on trial; install another one, or this one anew"
    )
    assert seen.decoded("info")[-1]["degraded"] == [line]
    assert device.log.count(line) == 1

    model = hungry(10**12, make(), white=True)
    sha256, data = hashlib.sha256(model).hexdigest(), base64.b64encode(model).decode()
    seen.ack("models_chunk", sha256=sha256, size=len(model), offset=0, data=data)
    _, job, _ = seen.command("detectors_add", sha256=sha256, name="other")
    assert job is not None
    assert re.match(r"other: (invocation failed: .*FILL|takes more than the)", job["error"])
    assert device.stop() == 0
    assert stands(store) == (1, False), "it is still left out"


def test_one_that_cannot_be_opened_is_not_blamed_for_an_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    install_detector(store, make(), name="bright", origin="here").file.write_bytes(b"short")
    cameras = {"door": {"regions": "detector:bright"}}
    settings = load(None, {"cameras": cameras, "storage": {"state_dir": tmp_path}})
    assert open_detections(settings, store.detectors)["door"].trouble is not None
    assert stands(store) == (0, False)
    store.detectors.remove("bright")
    install_detector(store, make(), name="bright", origin="here")
    cameras["yard"] = {"regions": "detector:missing"}
    settings = load(None, {"cameras": cameras, "storage": {"state_dir": tmp_path}})
    with pytest.raises(ConfigError, match="no detector 'missing' is installed"):
        open_detections(settings, store.detectors)
    assert stands(store) == (0, False)


def test_a_detector_that_is_damaged_leaves_the_device_at_work(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    seen = watch(broker)
    installed = install_detector(Store(tmp_path / "state"), make(), name="bright", origin="here")
    installed.file.write_bytes(installed.file.read_bytes()[:-1000])
    device = run(
        broker.url,
        cameras=f'[cameras.main]\nsource = "{still(tmp_path / "wall")}"\nfps = 10\nregions = "detector:bright"',
        state_dir=tmp_path / "state",
    )
    seen.wait("result/main", 3)
    assert {"box", "track"}.isdisjoint(seen.decoded("result/main")[-1])
    assert "box" not in seen.decoded("label/main")[-1]
    (line,) = seen.decoded("info")[-1]["degraded"]
    assert line.startswith("camera main: classified whole, there is no working detector: ")
    assert "model.tflite: damaged" in line
    assert device.stop() == 0
