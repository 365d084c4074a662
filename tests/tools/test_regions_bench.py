"""`tools/bench regions`: scenes are what they say, counting is right, and the page is that of its numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edged.types import Region
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks import moving

REPORTS = REPOSITORY / "tools" / "reports"


def scene(*widths: float, oval: bool = False) -> moving.Scene:
    from benchmarks import moving

    photo = np.full((40, 50, 3), 250, np.uint8)
    wall = np.full((90, 160, 3), 40, np.uint8)
    return moving.Scene(
        [wall] * (moving.WARM_UP + moving.SCENE),
        15.0,
        [moving.Thing(1, "a.jpg", photo, width, oval) for width in widths],
        seed=5,
    )


@pytest.mark.parametrize("oval", [False, True])
def test_a_thing_is_where_its_box_says(oval: bool) -> None:
    seen = 0
    for view in scene(0.2, oval=oval):
        for truth in view.truths:
            x, y, width, height = truth.box
            bright = (view.image > 140).all(axis=2)
            rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
            assert (columns[0], columns[-1] + 1) == pytest.approx((x * 160, (x + width) * 160), abs=1.5)
            assert (rows[0], rows[-1] + 1) == pytest.approx((y * 90, (y + height) * 90), abs=1.5)
            seen += truth.whole
    assert seen > 30


def test_nothing_comes_at_first_and_a_still_clip_has_no_motion_of_its_own() -> None:
    from benchmarks import moving

    for at, view in enumerate(scene(0.1, 0.2)):
        assert view.warm == (at >= moving.WARM_UP)
        assert view.warm or not view.truths
        assert not view.own.any()


def test_one_thing_covers_another() -> None:
    from benchmarks import moving

    under, over = moving.Truth(0, (0.1, 0.1, 0.2, 0.2), True), moving.Truth(1, (0.2, 0.1, 0.2, 0.2), True)
    assert moving.hidden(under, [under, over])
    assert not moving.hidden(over, [under, over])


def test_hits_false_regions_and_the_clips_own_are_told_apart() -> None:
    from benchmarks import moving, regions

    own = np.zeros((90, 160), bool)
    own[:45, :80] = True
    view = moving.View(
        np.zeros((90, 160, 3), np.uint8), 0.0, [moving.Truth(0, (0.5, 0.5, 0.2, 0.2), True)], own, warm=True
    )
    boxes = [(0.52, 0.5, 0.2, 0.2), (0.1, 0.1, 0.2, 0.2), (0.8, 0.8, 0.1, 0.1)]
    judge = regions.Judge("regions", 1, None)
    judge.take(view, [Region(str(number), box, number) for number, box in enumerate(boxes)], None)
    judge.take(view, [Region("9", (0.7, 0.5, 0.2, 0.2), 9)], None)
    assert (judge.found[0].frames, judge.found[0].found, judge.found[0].tracks) == (2, 1, {"0": 1})
    assert judge.counted == {"frames": 2, "regions": 4, "own": 1, "false": 2}
    assert judge.misses == {"nothing": 1}


def test_why_a_thing_was_missed() -> None:
    from benchmarks import misses, moving, regions

    own = np.zeros((90, 160), bool)
    own[:, 112:] = True
    thing, other = (0.4, 0.4, 0.2, 0.2), (0.1, 0.4, 0.2, 0.2)
    truth = moving.Truth(0, thing, True)
    view = moving.View(np.zeros((90, 160, 3), np.uint8), 0.0, [truth, moving.Truth(1, other, True)], own, warm=True)
    proposed = {
        "track": [thing],
        "nothing": [other],
        "other": [(0.1, 0.4, 0.5, 0.2)],
        "own": [(0.4, 0.4, 0.5, 0.2)],
        "large": [(0.4, 0.2, 0.2, 0.6)],
        "split": [(0.4, 0.4, 0.08, 0.2), (0.52, 0.4, 0.08, 0.2)],
        "part": [(0.4, 0.4, 0.08, 0.2)],
    }
    assert set(proposed) == set(misses.CAUSES)
    assert {name: misses.cause(view, truth, boxes, regions.MATCH) for name, boxes in proposed.items()} == {
        name: name for name in proposed
    }


def test_a_fresh_draw_has_none_of_the_first_photos_and_another_seed_another_one(tmp_path: Path) -> None:
    from benchmarks import moving

    folder = tmp_path / "imagenet"
    folder.mkdir()
    lines = ["file,class_index"]
    for number in range(moving.LOOKED_AT * 3):
        photo = np.full((8, 10, 3), number % 251, np.uint8)
        photo[0, 0] = number // 251
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", photo)[1].tobytes())
        lines.append(f"{number}.png,{number % 7}")
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    first, one, again, other = (
        [thing.file for thing in moving.things(tmp_path, "report", 30, draw=draw)] for draw in (0, 1, 1, 2)
    )
    assert len(first) == len(set(one)) == 30
    assert one == again
    assert one != other
    assert not set(first) & set(one)


def test_scenes_of_one_number_or_several_follow_from_them() -> None:
    from benchmarks import moving

    wall = np.full((90, 160, 3), 40, np.uint8)
    seeds: list[int | list[int]] = [5, [5], [5, 0, 1], [5, 0, 2], [5, 0, 2]]
    frames = [
        next(iter(moving.Scene([wall] * (moving.WARM_UP + moving.SCENE), 15.0, [], seed))).image for seed in seeds
    ]
    assert (frames[3] == frames[4]).all()
    assert not (frames[2] == frames[3]).all()
    assert not (frames[0] == frames[2]).all()


def test_a_fresh_draw_is_made_once() -> None:
    from benchmarks import regions

    numbers = json.loads((REPORTS / "regions.json").read_text(encoding="utf-8"))
    with pytest.raises(SystemExit, match="made once"):
        regions.draw_anew(REPOSITORY, numbers, 3)
    assert not {row["file"] for row in numbers["rows"]} & {row["file"] for row in numbers["fresh"]["rows"]}
    first = {key: value for key, value in numbers.items() if key != "fresh"}
    assert "## A fresh draw" not in regions.page(first)
    assert json.loads(regions.encode(first)) == first


def test_the_page_tells_the_numbers() -> None:
    from benchmarks import regions

    numbers = json.loads((REPORTS / "regions.json").read_text(encoding="utf-8"))
    assert (REPORTS / "regions.md").read_text(encoding="utf-8") == regions.page(numbers)
    assert regions.encode(numbers) == (REPORTS / "regions.json").read_text(encoding="utf-8")
    assert numbers["side"] == "report"
    assert not numbers["quick"]
    assert (REPORTS / "regions.jpg").stat().st_size < 150_000
