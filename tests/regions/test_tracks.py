"""Names that stay while things move: boxes in, regions out, no picture."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edged.regions import MOST_TRACKS, Tracker, tracks
from edged.types import Box, Region

STEP_S = 0.1


def shown(
    tracker: Tracker, *frames: list[Box], begin_s: float = 0.0, step_s: float = STEP_S
) -> list[tuple[Region, ...]]:
    return [tracker.update(boxes, begin_s + number * step_s) for number, boxes in enumerate(frames)]


def names(seen: list[tuple[Region, ...]]) -> list[list[str]]:
    return [[region.track for region in regions] for regions in seen]


def moving(x: float, y: float, step: float, count: int, *, size: float = 0.1) -> list[list[Box]]:
    return [[(x + step * number, y, size, size)] for number in range(count)]


def test_a_name_comes_with_the_third_frame_and_stays() -> None:
    seen = shown(Tracker(), *moving(0.1, 0.5, 0.02, 20))
    assert [len(regions) for regions in seen] == [0, 0] + [1] * 18
    assert {region.track for regions in seen for region in regions} == {"1"}
    assert seen[-1] == (Region("1", (0.48, 0.5, 0.1, 0.1), 1),)


def test_what_flickers_gets_no_name() -> None:
    box = (0.5, 0.5, 0.1, 0.1)
    flicker: list[list[Box]] = [[box], [box], [], [box], [box], []] * 4
    assert not any(itertools.chain(*shown(Tracker(), *flicker)))


def test_two_that_pass_each_other_keep_their_names() -> None:
    frames = [[(0.1 + 0.02 * number, 0.3, 0.1, 0.1), (0.8 - 0.02 * number, 0.45, 0.1, 0.1)] for number in range(30)]
    for regions in shown(Tracker(), *frames)[2:]:
        first, second = sorted(regions, key=lambda region: region.box[1])
        assert first.track != second.track
    last = {region.track: region.box for region in regions}
    first_of = {region.track: region.box for region in shown(Tracker(), *frames)[2]}
    assert {track: box[1] for track, box in last.items()} == {track: box[1] for track, box in first_of.items()}


def test_a_small_quick_thing_that_leaves_its_own_box_is_followed() -> None:
    seen = shown(Tracker(), *moving(0.1, 0.5, 0.05, 12, size=0.04))
    assert {region.track for region in seen[-1]} == {"1"}


def test_one_that_is_not_found_for_a_moment_is_waited_for() -> None:
    tracker = Tracker()
    shown(tracker, *moving(0.1, 0.5, 0.02, 10))
    hidden = shown(tracker, [], [], [], [], begin_s=10 * STEP_S)
    assert [[(region.track, region.visible) for region in regions] for regions in hidden] == [[("1", False)]] * 4
    back = shown(tracker, *moving(0.1 + 0.02 * 14, 0.5, 0.02, 2), begin_s=14 * STEP_S)
    assert [[(region.track, region.visible) for region in regions] for regions in back] == [[("1", True)]] * 2


def test_where_a_thing_should_be_is_guessed_for_a_moment() -> None:
    tracker = Tracker()
    assert tracker.expected(0.0) == []
    shown(tracker, *moving(0.1, 0.5, 0.02, 10))  # at 0.28 in the last frame, at 0.9 s
    (one,) = tracker.expected(1.1)
    assert one.box == pytest.approx((0.32, 0.5, 0.1, 0.1))
    assert one.speed == pytest.approx((0.2, 0.0))
    assert one.seen == 10
    assert tracker.expected(1.3) == []


def test_one_that_is_gone_has_ended_and_its_name_is_never_given_again() -> None:
    tracker = Tracker(lost_s=0.45)
    shown(tracker, *moving(0.1, 0.5, 0.02, 10))
    gone = shown(tracker, *[[]] * 8, begin_s=10 * STEP_S)
    assert [len(regions) for regions in gone] == [1, 1, 1, 1, 0, 0, 0, 0]
    later = shown(tracker, *moving(0.1, 0.5, 0.02, 5), begin_s=18 * STEP_S)
    assert [region.track for region in later[-1]] == ["2"]


def test_the_newest_comes_first() -> None:
    old, new = moving(0.1, 0.1, 0.02, 12), [[]] * 4 + moving(0.1, 0.7, 0.02, 8)
    frames = [one + other for one, other in zip(old, new, strict=True)]
    assert [region.track for region in shown(Tracker(), *frames)[-1]] == ["2", "1"]


def test_something_else_in_its_place_is_something_else() -> None:
    tracker = Tracker(lost_s=0.2)
    shown(tracker, *[[(0.5, 0.5, 0.02, 0.02)]] * 5)
    large = shown(tracker, *[[(0.2, 0.2, 0.7, 0.7)]] * 5, begin_s=0.5)
    assert [region.track for region in large[-1]] == ["2"]


def test_boxes_are_told_inside_the_frame_and_in_four_digits() -> None:
    (region,) = shown(Tracker(), *[[(0.123456, -0.1, 0.9, 1.2)]] * 3)[-1]
    assert region.box == (0.1235, 0.0, 0.9, 1.0)


@pytest.mark.parametrize(("step_s", "unnamed"), [(5.0, 0), (2.0, 1), (1.0, 1), (0.4, 1), (0.25, 2), (0.03, 2)])
def test_before_a_slow_camera_a_name_comes_sooner(step_s: float, unnamed: int) -> None:
    """Within five seconds a thing may have come and gone: it is in one frame alone, and shall be classified."""
    tracker = Tracker()
    shown(tracker, *[[]] * 4, step_s=step_s)
    seen = shown(tracker, *moving(0.1, 0.5, 0.1, 5), begin_s=4 * step_s, step_s=step_s)
    assert names(seen) == [[]] * unnamed + [["1"]] * (5 - unnamed)


def test_before_a_slow_camera_a_thing_goes_further_between_two_frames() -> None:
    tracker = Tracker()
    shown(tracker, *[[]] * 4, step_s=1.0)
    assert names(shown(tracker, *moving(0.05, 0.5, 0.2, 4, size=0.08), begin_s=4.0, step_s=1.0)) == [[]] + [["1"]] * 3


def test_a_slow_camera_waits_for_what_it_has_not_found_once() -> None:
    tracker = Tracker()
    shown(tracker, *[[]] * 4, step_s=1.0)
    one, missed = [(0.5, 0.5, 0.1, 0.1)], list[Box]()
    seen = shown(tracker, one, one, missed, one, missed, missed, missed, one, begin_s=4.0, step_s=1.0)
    assert [[(region.track, region.visible) for region in regions] for regions in seen] == [
        [],
        [("1", True)],
        [("1", False)],
        [("1", True)],
        *[[("1", False)]] * 2,
        [],
        [],
    ]


def test_where_a_thing_should_be_is_guessed_before_a_slow_camera_too() -> None:
    tracker = Tracker()
    shown(tracker, *moving(0.1, 0.5, 0.1, 5), step_s=0.5)  # at 0.5 in the last frame, at 2.0 s
    (one,) = tracker.expected(2.5)
    assert one.box == pytest.approx((0.6, 0.5, 0.1, 0.1))


def test_a_pause_makes_no_slow_camera() -> None:
    tracker = Tracker()
    shown(tracker, *[[]] * 10)
    box = (0.5, 0.5, 0.1, 0.1)
    flicker: list[list[Box]] = [[box], [], [box], [box], []]
    assert not any(itertools.chain(*shown(tracker, *flicker, begin_s=30.0)))


def test_what_a_detector_misses_in_each_third_frame_gets_a_name_and_keeps_it() -> None:
    frames = [boxes if at % 3 != 2 else [] for at, boxes in enumerate(moving(0.1, 0.5, 0.01, 30))]
    seen = shown(Tracker(misses=1), *frames)
    assert names(seen) == [[]] * 3 + [["1"]] * 27
    assert [regions[0].visible for regions in seen[3:]] == [at % 3 != 2 for at in range(3, 30)]
    box = (0.5, 0.5, 0.1, 0.1)
    twice: list[list[Box]] = [[box], [], [], [box], [], []] * 4
    assert not any(itertools.chain(*shown(Tracker(misses=1), *twice))), "two misses in a row are too many"


@pytest.mark.parametrize(
    ("within", "most"), [(0.95, MOST_TRACKS**2 / 4), (0.05, 2 * MOST_TRACKS**2)], ids=["apart", "in one place"]
)
def test_hundreds_of_things_that_jump_about_are_bounded_work(
    monkeypatch: pytest.MonkeyPatch, within: float, most: float
) -> None:
    compared = 0
    fit = tracks._fit

    def counting(*args: Any) -> float:
        nonlocal compared
        compared += 1
        return fit(*args)

    monkeypatch.setattr(tracks, "_fit", counting)
    tracker, random = Tracker(), np.random.default_rng(4)
    for at in range(30):
        boxes: list[Box] = [(x, y, 0.03, 0.05) for x, y in random.uniform(0, within, (300, 2)).tolist()]
        compared = 0
        regions = tracker.update(boxes, at * STEP_S)
        assert len(regions) <= MOST_TRACKS
        assert len(tracker.expected(at * STEP_S)) <= MOST_TRACKS
        assert compared <= most, "most pairs are not near each other; where they are, two are compared twice at most"


def test_of_too_many_those_that_were_seen_last_are_followed() -> None:
    tracker = Tracker()
    lanes: list[Box] = [(0.1 * (at % 10), 0.1 * (at // 10), 0.02, 0.02) for at in range(80)]
    shown(tracker, *[lanes[:40]] * 3)
    seen = shown(tracker, *[lanes[40:]] * 3, begin_s=3 * STEP_S)
    assert len(seen[-1]) == MOST_TRACKS
    assert sum(region.visible for region in seen[-1]) == 40, "what is there is followed"
