"""Drift: the statistic on seeded numbers, the watch on a clock of its own, the alert from a real daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edged.codec import read_image
from edged.contract.messages import Drift
from edged.daemon.app import Daemon
from edged.daemon.drift import DriftWatch, Strange, measure
from edged.daemon.telemetry import TelemetryThread
from edged.learning.bottlenecks import Backbone
from edged.learning.exemplars import common_to, familiarity_of
from edged.learning.pipeline import train
from edged.settings import CameraSettings, Settings, TelemetrySettings
from edged.store import Store, read_bundle
from edged.types import Inference
from tests.albums import LABELS, make_album
from tests.conftest import HAS_SHARED_DATA, REPOSITORY, SHARED_DATA
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.learning.conftest import request_for
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

HOUR = 3600.0


def even(count: int, seed: int = 0) -> list[float]:
    return list(map(float, np.random.default_rng(seed).uniform(0, 1, count)))


def test_frames_like_the_taught_ones_have_a_statistic_of_a_half_and_even_p_values() -> None:
    found = [measure(even(300, seed)) for seed in range(400)]
    assert np.mean([one.statistic for one in found]) == pytest.approx(0.5, abs=0.005)
    for level in (0.05, 0.25, 0.5):
        assert np.mean([one.p < level for one in found]) == pytest.approx(level, abs=0.06)


def test_strange_frames_have_a_high_statistic_and_a_small_p_value() -> None:
    drift = measure([value / 10 for value in even(300)])
    assert drift.statistic == pytest.approx(0.95, abs=0.01)
    assert drift.p < 1e-6
    assert drift.frames == 300
    better = measure([0.5 + value / 2 for value in even(300)])
    assert better.statistic < 0.3
    assert better.p > 0.99, "more familiar than the taught images is no drift"


def test_an_hour_of_one_picture_counts_as_one_frame() -> None:
    still = measure([0.2] * 720)
    assert still.p == pytest.approx(measure([0.2]).p)
    assert still.p > 0.1
    low = [value * 0.8 for value in even(10)]
    slow = [value for value in low for _ in range(30)]  # a scene that changes ten times
    mixed = list(map(float, np.random.default_rng(0).permutation(slow)))  # as if each frame showed another scene
    assert measure(slow).statistic == measure(mixed).statistic
    assert measure(mixed).p < 1e-3 < measure(slow).p


def test_the_numbers_of_four_frames_are_those_that_one_calculates_by_hand() -> None:
    # Mean 0.3, autocorrelation 0.01 / 0.04, so 4 · 0.75 / 1.25 = 2.4 frames, and z = 0.2 · √(12 · 2.4) = 1.0733.
    found = measure([0.2, 0.2, 0.4, 0.4])
    assert (found.statistic, found.frames) == (0.7, 4)
    assert found.p == pytest.approx(0.14157, abs=2e-5)


def feed(watch: DriftWatch, values: Iterable[float], begin: float, every: float = 5.0, camera: str = "main") -> float:
    for value in values:
        watch.add(camera, "model", value, begin)
        begin += every
    return begin


def test_an_alert_begins_when_the_camera_is_moved_and_ends_when_it_is_back() -> None:
    watch = DriftWatch(HOUR)
    now = feed(watch, even(720), 0.0)
    known, alert = watch.state(now, 1000.0)
    assert known["main"].frames == 720
    assert known["main"].statistic == pytest.approx(0.5, abs=0.05)
    assert alert is None
    now = feed(watch, [value / 50 for value in even(120)], now)  # ten minutes of another scene
    _, alert = watch.state(now, 2000.0)
    assert alert is not None
    assert alert.since == 2000.0
    assert "camera main" in alert.reason
    _, alert = watch.state(now + 1, 2001.0)
    assert alert is not None
    assert alert.since == 2000.0, "since then, not since the last look"
    now = feed(watch, even(120, 1), now)
    assert watch.state(now, 3000.0)[1] is None


def test_an_alert_begins_at_seven_tenths_and_stays_until_six() -> None:
    watch = DriftWatch(HOUR)

    def alert_after(mean: float, begin: float) -> tuple[float, bool]:
        values = [2 * mean * (number * 37 % 120 + 0.5) / 120 for number in range(120)]
        now = feed(watch, values, begin)
        return now, watch.state(now, 0.0)[1] is not None

    now, before = alert_after(0.35, 0.0)
    now, begun = alert_after(0.25, now)
    now, kept = alert_after(0.35, now)
    now, over = alert_after(0.45, now)
    assert (before, begun, kept, over) == (False, True, True, False)
    for mean, expected in ((0.3005, False), (0.3, True), (0.4, True), (0.4005, False)):
        now, found = alert_after(mean, now)
        assert found is expected, f"{1 - mean:.2%} of taught images are more familiar"


def test_a_stranger_that_walks_by_is_no_drift() -> None:
    for begin in (60, 225):  # a while ago, and in front of the camera as somebody looks
        watch = DriftWatch(HOUR)
        values = even(240)
        values[begin : begin + 20] = [0.003] * 20  # 100 s in front of the camera
        now = feed(watch, values[:240], 0.0)
        assert watch.state(now, 0.0)[1] is None


def test_a_picture_that_stands_still_is_one_frame_and_raises_the_alert_where_that_one_is_rare() -> None:
    for familiarity, expected in ((0.08, False), (0.01, True)):  # p is 0.07 and 0.045
        watch = DriftWatch(HOUR)
        now = feed(watch, [familiarity] * 240, 0.0)
        assert (watch.state(now, 0.0)[1] is not None) is expected


def test_each_camera_is_judged_by_itself_and_the_alert_began_with_the_first() -> None:
    watch = DriftWatch(HOUR)
    feed(watch, even(100), 0.0, camera="gone")
    feed(watch, even(240), 600.0, camera="yard")
    now = feed(watch, [0.001] * 120, 1800.0, camera="yard")
    known, alert = watch.state(now, 2400.0)
    assert sorted(known) == ["gone", "yard"], "an hour is remembered of each"
    assert alert is not None
    assert alert.since == 2400.0
    assert alert.reason.startswith("camera yard: ")
    feed(watch, [0.001] * 240, now, camera="yard")
    now = feed(watch, [0.001] * 240, now, camera="door")
    _, alert = watch.state(now, 3600.0)
    assert alert is not None
    assert alert.since == 2400.0
    assert [part for part in alert.reason.split() if part in {"gone:", "yard:", "door:"}] == ["yard:", "door:"]


def test_no_more_frames_are_kept_than_the_window_has_room_for() -> None:
    watch = DriftWatch(HOUR)
    now = feed(watch, even(2000), 0.0)
    assert watch.state(now - 5.0, 0.0)[0]["main"].frames == 720


def test_frames_between_two_looks_are_passed_over_and_old_ones_forgotten() -> None:
    watch = DriftWatch(HOUR)
    feed(watch, even(5000), 0.0, every=0.1)  # 500 s
    known, _ = watch.state(500.0, 0.0)
    assert known["main"].frames == 100
    known, _ = watch.state(HOUR + 600.0, 0.0)
    assert known == {}
    now = feed(watch, even(40), 10_000.0, every=200.0)
    known, _ = watch.state(now - 100.0, 0.0)
    assert known["main"].frames == 18, "those of the last hour"


def test_a_slow_camera_is_judged_by_its_newest_dozen_and_a_camera_that_is_gone_by_none() -> None:
    watch = DriftWatch(HOUR)
    now = feed(watch, [*even(11), *([0.001] * 11)], 0.0, every=200.0)  # a sixth of the window has three frames
    assert watch.state(now - 200.0, 0.0)[1] is not None
    assert watch.state(now + 401.0, 0.0)[1] is None, "no frame for ten minutes"
    few = DriftWatch(HOUR)
    now = feed(few, [0.001] * 11, 0.0, every=200.0)
    assert few.state(now, 0.0) == ({}, None)
    now = feed(few, [0.001], now, every=200.0)
    known, alert = few.state(now, 0.0)
    assert known["main"].frames == 12
    assert alert is not None


def test_a_window_that_is_too_short_for_a_camera_is_told_in_a_line() -> None:
    def lines(drift_s: float, fps: float) -> list[str]:
        cameras = {"door": CameraSettings(fps=fps)}
        return Settings(telemetry=TelemetrySettings(drift_s=drift_s), cameras=cameras).unwatched()

    assert lines(10, 0.5) == [
        "telemetry.drift_s = 10 is too short for camera door: with fps = 0.5 it needs 24 or more; "
        "no drift of it is told"
    ]
    assert lines(24, 0.5) == []
    assert lines(1, 0) == [], "as fast as frames can be classified: nobody knows yet"


def test_the_drift_is_looked_at_between_two_messages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.daemon.telemetry._LOOK_S", 0.01)
    looks: list[None] = []
    nothing: Any = SimpleNamespace(close=lambda: None, read=lambda: None)

    def drift() -> dict[str, Drift]:
        looks.append(None)
        return {}

    telemetry = TelemetryThread(nothing, nothing, nothing, dropped=lambda: 0, interval_s=86400, drift=drift)
    telemetry.start()
    wait_until(lambda: len(looks) > 2, what="looks without a message")
    telemetry.stop()
    assert telemetry.repeat() is None, "and no message was made"


def test_another_model_begins_anew_and_one_that_knows_nothing_says_nothing() -> None:
    watch = DriftWatch(HOUR)
    now = feed(watch, [0.001] * 240, 0.0)
    assert watch.state(now, 0.0)[1] is not None
    watch.add("main", "another", None, now)
    assert watch.state(now, 0.0) == ({}, None)


def test_networks_that_take_turns_are_watched_as_one() -> None:
    def engine(name: str) -> Any:
        return SimpleNamespace(bundle=SimpleNamespace(id=name))

    daemon: Any = SimpleNamespace(drift=DriftWatch(HOUR), loop=SimpleNamespace(engine=engine("first")))
    for number in range(240):
        frame: Any = SimpleNamespace(camera="main", captured_ns=number * 5 * 10**9)
        name = ("first", "other")[number % 2]
        inference = Inference(np.ones(1, np.float32), np.ones(1, np.float32), 1.0, name, familiarity=0.001)
        Daemon._watch_drift(daemon, frame, inference, engine(name))
    known, strange = daemon.drift.state(240 * 5.0, 0.0)
    assert known["main"].frames == 240
    assert strange is not None


def noise(folder: Path) -> str:
    """Put pictures of noise into a folder; return the camera that shows it."""
    folder.mkdir()
    for number in range(8):
        picture = np.random.default_rng(number).integers(0, 256, (240, 320, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return f'[cameras.main]\nsource = "dir://{folder}"\nfps = 50'


def test_a_camera_that_looks_at_noise_raises_the_alert_until_it_sees_what_was_taught_again(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    state = tmp_path / "taught"
    outcome = train(request_for(state, images=30, epochs=30), lambda _: None)
    assert outcome.bundle is not None
    Store(state).promote(read_bundle(outcome.bundle), "mobilenet_v2")
    seen, folder = watch(broker), tmp_path / "photos"
    device = run(broker.url, cameras=noise(folder), telemetry="drift_s = 6", state_dir=state)
    wait_until(lambda: any(seen.of("alert/drift")), what="an alert")
    told = json.loads(next(payload for payload in seen.of("alert/drift") if payload))
    assert told["name"] == "drift"
    assert "camera main" in told["reason"]
    late = watch(broker)
    wait_until(lambda: "alert/drift" in late.retained(), what="the alert, retained")
    wait_until(lambda: any("drift" in one for one in seen.decoded("telemetry")), what="drift in telemetry")
    telemetry = next(one for one in reversed(seen.decoded("telemetry")) if "drift" in one)
    assert telemetry["drift"]["main"]["statistic"] > 0.9
    assert "unknown" in {result["label"] for result in seen.decoded("result/main")}
    make_album(folder, 10, first=500)
    for label in LABELS:
        for picture in (folder / label).iterdir():
            picture.rename(folder / f"{label}{picture.name}")
    for picture in folder.glob("*.png"):
        picture.unlink()
    wait_until(lambda: seen.of("alert/drift")[-1] == b"", what="the end of the alert")
    assert device.stop() == 0
    assert "drift is over" in device.log


def test_a_network_as_it_was_installed_raises_no_alert(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    seen = watch(broker)
    run(broker.url, cameras=noise(tmp_path / "photos"), telemetry="drift_s = 6")

    def strange() -> bool:
        told = [one["drift"]["main"]["statistic"] for one in seen.decoded("telemetry") if "drift" in one]
        return len(told) > 3 and min(told) > 0.9

    wait_until(strange, what="a high drift in telemetry")
    assert not any(seen.of("alert/drift")), "its photos were never those of this camera"


def test_an_alert_from_before_a_restart_does_not_stay(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen = watch(broker)
    stale = paho.Client(CallbackAPIVersion.VERSION2)
    stale.connect("127.0.0.1", broker.port)
    stale.loop_start()
    stale.publish("edged/dut/alert/drift", b"{}", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    stale.disconnect()
    stale.loop_stop()
    run(broker.url, cameras=f'[cameras.main]\nsource = "dir://{PHOTOS}"')
    wait_until(lambda: seen.of("alert/drift") == [b"{}", b""], what="the old alert to be cleared")


@pytest.mark.skipif(not HAS_SHARED_DATA, reason="needs ../shared/data")
def test_darkness_blur_and_another_scene_raise_the_alert_and_new_photos_of_the_same_things_do_not() -> None:
    backbone = Backbone.of(read_bundle(REPOSITORY / "models" / "mobilenet_v2"), "auto")
    network = backbone.network()

    def embed(files: list[Path], change: Callable[[np.ndarray], np.ndarray] = lambda picture: picture) -> np.ndarray:
        pictures = (np.ascontiguousarray(change(read_image(file))) for file in files)
        return np.stack([network.embed(backbone.prepare(network, picture, "plain", "0")) for picture in pictures])

    flowers = [sorted((SHARED_DATA / "flowers" / kind).glob("*.jpg")) for kind in ("daisy", "roses", "tulips")]
    taught = embed([file for files in flowers for file in files[:40]])
    groups = [str(number) for number in range(len(taught))]
    known = familiarity_of(taught, backbone.affine, groups, common_to(backbone), None, None)
    assert known is not None
    new = [file for files in flowers for file in files[40:54]]
    scenes = sorted((SHARED_DATA / "imagenet" / "eli").glob("*.jpg"))[:1000:25]

    def alert(frames: np.ndarray) -> Strange | None:
        watch = DriftWatch(HOUR)
        shares = [known.familiarity(known.score(row)) for row in backbone.affine.dequantize(frames)]
        now = feed(watch, [share for share in shares for _ in range(2)], 0.0)
        return watch.state(now, 0.0)[1]

    assert alert(embed(new)) is None
    assert alert(embed(new, lambda picture: (picture * 0.15).astype(np.uint8))) is not None, "the light went out"
    assert alert(embed(new, lambda picture: cv2.GaussianBlur(picture, (0, 0), 6))) is not None, "a dirty lens"
    assert alert(embed(scenes)) is not None, "the camera was moved"
