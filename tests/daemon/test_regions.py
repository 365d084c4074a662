"""Regions before classes: what moves before a camera is classified by itself, on a real daemon and a real broker."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged import settings
from edged.codec import decode, read_image
from edged.contract.messages import NOTHING, UNKNOWN
from edged.daemon.homeassistant import Readable, list_components
from edged.daemon.pictures import draw_boxes
from edged.daemon.publisher import Scene
from edged.daemon.results import make_result
from edged.regions import overlap
from edged.types import Box, Frame, Inference, LabelScore, Region
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

WIDTH, HEIGHT, FPS = 320, 180, 15
SIDE = 64
QUIET, MOVING = 20, 40


def film(path: Path, *photos: str, together: bool = False) -> Path:
    """Write a film in which photos cross a grey wall, one after another or together; before and after: nothing."""
    random = np.random.default_rng(1)
    wall = cv2.resize(random.integers(90, 130, (6, 10, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    pasted = [
        cv2.resize(read_image(PHOTOS / f"{name}.jpg"), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for name in photos
    ]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for act in [list(enumerate(pasted))] if together else [[(0, photo)] for photo in pasted]:
        for at in range(-QUIET, MOVING + QUIET):
            image = wall.copy()
            for lane, photo in act if 0 <= at < MOVING else ():
                left, top = 10 + 5 * at, 15 + 85 * lane
                image[top : top + SIDE, left : left + SIDE] = photo
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def camera(source: Path, *more: str) -> str:
    lines = [f'[cameras.main]\nsource = "file://{source}"', f"fps = {FPS}", "loop = false", *more]
    return "\n".join(lines)


MOTION = 'regions = "motion"'


def by_track(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["track"], []).append(result)
    return found


def test_what_moves_is_classified_named_and_told_of(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    seen = watch(broker)
    run(broker.url, cameras=camera(film(tmp_path / "film.avi", "cat", "coffee"), MOTION), mqtt='results = "changes"')
    wait_until(lambda: [r for r in seen.decoded("result/main") if r.get("ended")][1:], what="the end of both")
    wait_until(lambda: seen.decoded("label/main")[-1]["label"] == NOTHING, what="the camera's label, which comes later")
    results = seen.decoded("result/main")
    assert [result["seq"] for result in results] == list(range(len(results)))
    tracks = by_track(results)
    assert set(tracks) == {"1", "2"}
    for track, name in (("1", "Egyptian cat"), ("2", "espresso")):
        first, *_, last = tracks[track]
        assert "ended" not in first
        assert last["ended"] is True
        assert {result.get("ended") for result in tracks[track][:-1]} == {None}, "and nothing after the end"
        labels = [result["label"] for result in tracks[track][:-1]]
        assert all(before != after for before, after in itertools.pairwise(labels)), "changes alone"
        assert name in labels
        assert last["label"] == labels[-1]
        for result in (first, last):
            at = round((result["box"][0] * WIDTH - 10) / 5)
            truth = ((10 + 5 * at) / WIDTH, 15 / HEIGHT, SIDE / WIDTH, SIDE / HEIGHT)
            assert overlap(result["box"], truth) > 0.6
    labels = seen.decoded("label/main")
    assert [label["label"] for label in labels][:: len(labels) - 1] == [NOTHING, NOTHING]
    (cat,) = [label for label in labels if label["label"] == "Egyptian cat"][-1]["regions"]
    assert (cat["track"], cat["label"]) == ("1", "Egyptian cat")
    assert overlap(cat["box"], tracks["1"][0]["box"]) > 0


def test_the_crop_is_what_a_label_is_for(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    seen = watch(broker)
    source = film(tmp_path / "film.avi", "cat", "coffee", together=True)
    run(broker.url, cameras=camera(source, MOTION))
    wait_until(lambda: [r for r in seen.decoded("result/main") if r.get("ended")][1:], what="the end of both")
    tracks = by_track(seen.decoded("result/main"))
    assert len(tracks) == 2
    called = {
        track: Counter(result["label"] for result in results).most_common(1)[0][0] for track, results in tracks.items()
    }
    assert set(called.values()) == {"Egyptian cat", "espresso"}
    assert min(len(results) for results in tracks.values()) > 3, "each of them again and again"
    _, job, _ = seen.command("images_label", last=True, label="cup")
    assert job is not None
    assert "several things" in job["error"]
    cup = next(track for track, label in called.items() if label == "espresso")
    _, job, _ = seen.command("images_label", last=True, label="cup", track="99")
    assert job is not None
    assert "not in view" in job["error"]
    _, job, _ = seen.command("images_label", last=True, label="cup", track=cup)
    assert job is not None
    report = job["report"]
    assert (report["track"], report["label"], report["predicted"]) == (cup, "cup", tracks[cup][-2]["label"])
    assert report["width"] == report["height"] == pytest.approx(SIDE * 8 / 7, abs=14)
    _, job, id_ = seen.command("images_get", id=report["id"])
    kept = decode(seen.of(f"image/{id_}")[0])
    assert kept.shape[:2] == (report["height"], report["width"])


def test_a_snapshot_shows_the_frame_and_tells_of_its_regions(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    seen = watch(broker)
    boxes = "regions = { left = [0, 0, 0.5, 1], right = [0.5, 0, 0.5, 1] }"
    run(broker.url, cameras=f'[cameras.main]\nsource = "pattern"\nfps = 20\nregions_max = 1\n{boxes}')
    results = seen.wait("result/main", 6)
    assert [result["track"] for result in results[:6]] == ["left", "right"] * 3, "in turn, where there is room for one"
    assert results[1]["box"] == [0.5, 0, 0.5, 1]
    _, job, id_ = seen.command("snapshot")
    assert job is not None
    report = job["report"]
    assert {region["track"] for region in report["regions"]} == {"left", "right"}
    assert (report["width"], report["height"]) == decode(seen.of(f"image/{id_}")[0]).shape[1::-1]
    telemetry = seen.wait("telemetry", 3)[-1]
    assert telemetry["frames"] <= results[-1]["seq"] + 40
    assert telemetry["fps"] < 30


def test_each_thing_is_smoothed_by_itself_and_one_that_is_unknown_makes_no_other_so(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    """A cat beside what no network was taught: neither's scores nor its familiarity come near to the other's."""
    cat = cv2.resize(read_image(PHOTOS / "cat.jpg"), (224, 224), interpolation=cv2.INTER_AREA)
    ramp = np.broadcast_to(np.arange(224, dtype=np.uint8)[np.newaxis, :, np.newaxis], cat.shape)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "both.png"), np.hstack([cat, ramp])[:, :, ::-1])
    seen = watch(broker)
    boxes = "regions = { cat = [0, 0, 0.5, 1], ramp = [0.5, 0, 0.5, 1] }"
    run(broker.url, cameras=f'[cameras.main]\nsource = "dir://{tmp_path / "photos"}"\nfps = 10\n{boxes}',
        mqtt="smoothing = 0.8")  # fmt: skip
    tracks = by_track(seen.wait("result/main", 12)[:12])
    assert {track: {result["label"] for result in results} for track, results in tracks.items()} == {
        "cat": {"Egyptian cat"},
        "ramp": {UNKNOWN},
    }
    for results in tracks.values():
        first, *others = results
        assert len(others) >= 5
        for result in others:
            assert result["score"] == pytest.approx(first["score"], abs=1e-3), "the same picture again and again"
            assert result["familiarity"] == pytest.approx(first["familiarity"], abs=2e-3)


def test_without_regions_nothing_is_said_of_them(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen = watch(broker)
    run(broker.url)
    (result, *_), (label, *_) = seen.wait("result/main"), seen.wait("label/main")
    assert not {"box", "track", "ended"} & set(result)
    assert "regions" not in label
    _, job, _ = seen.command("images_label", last=True, label="it", track="1")
    assert job is not None
    assert "has no track 1" in job["error"]


def test_home_assistant_is_told_of_regions_where_there_are_any() -> None:
    cameras = {"door": {"regions": "motion"}, "yard": {}}
    both = settings.load(None, {"device": {"id": "tx2"}, "cameras": cameras})
    described = list_components(both, both.cameras, Readable())
    assert "value_json.regions | default([])" in described["label_door"]["json_attributes_template"]
    assert "regions" not in described["label_yard"]["json_attributes_template"]


def test_boxes_are_drawn_into_the_picture() -> None:
    image = np.full((90, 160, 3), 50, np.uint8)
    box: Box = (0.25, 0.5, 0.25, 0.25)
    region = Region("1", box, 1)
    frame = Frame("main", 0, image, 0, 0.0, 0.0, regions=(region,), region=region)
    inference = Inference(np.zeros(1, np.float32), np.zeros(1, np.float32), 1.0)
    result = make_result(frame, inference, [LabelScore("Käse", 0.5)], seq=0, boot="b", model="m", now_ns=0)
    drawn = draw_boxes(Scene(frame, (result,)))
    assert (image == 50).all(), "the frame itself stays as it is"
    changed = np.flatnonzero((drawn != 50).any(axis=2).any(axis=0))
    assert changed[0] == pytest.approx(40, abs=2)
    assert (drawn[45:67, 40] != 50).any(axis=1).all(), "its left side"
    assert (drawn[50:60, 50:70] == 50).all(), "nothing inside"
    assert draw_boxes(Scene(frame, ())) is image
    assert json.loads(result.encode())["box"] == list(box)
