"""Things that touch are told apart by where each should be: drawn masks, of which every box is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edged.regions import Expected, apart
from edged.regions.apart import boxes, merge
from edged.types import Box

COLUMNS, ROWS = 160, 90
LEFT: Box = (0.125, 0.2, 0.25, 0.4)  # 20..60 by 18..54 pixels
RIGHT: Box = (0.375, 0.4, 0.25, 0.4)  # 60..100 by 36..72 pixels: they touch
OPPOSITE = (0.2, 0.0), (-0.2, 0.0)


def mask(*things: Box) -> NDArray[np.uint8]:
    drawn = np.zeros((ROWS, COLUMNS), np.uint8)
    for x, y, width, height in things:
        drawn[round(y * ROWS) : round((y + height) * ROWS), round(x * COLUMNS) : round((x + width) * COLUMNS)] = 255
    return drawn


def known(box: Box, speed: tuple[float, float] = (0.2, 0.0), seen: int = 10) -> Expected:
    return Expected(box, speed, seen)


def moved(box: Box, across: float) -> Box:
    return box[0] + across, *box[1:]


def test_two_that_touch_are_one_until_they_are_known() -> None:
    both = [pytest.approx((0.125, 0.2, 0.5, 0.6))]
    assert boxes(mask(LEFT, RIGHT), []) == both
    young = [known(LEFT, OPPOSITE[0], seen=4), known(RIGHT, OPPOSITE[1], seen=4)]
    assert boxes(mask(LEFT, RIGHT), young) == both
    found = boxes(mask(LEFT, RIGHT), [known(LEFT, OPPOSITE[0]), known(RIGHT, OPPOSITE[1])])
    assert sorted(found) == [pytest.approx(LEFT), pytest.approx(RIGHT)]


def test_a_box_is_where_the_pixels_are_and_not_where_it_was_expected() -> None:
    expected = [known(moved(LEFT, 0.00625), OPPOSITE[0]), known(moved(RIGHT, -0.00625), OPPOSITE[1])]
    left, right = sorted(boxes(mask(LEFT, RIGHT), expected))
    assert left == pytest.approx((0.125, 0.2, 0.25, 0.4), abs=0.026)
    assert left[0] == 0.125, "before the background"
    assert right[0] + right[2] == pytest.approx(0.625), "before the background"


def test_one_that_passes_before_another_keeps_its_size() -> None:
    over: Box = (0.3, 0.4, 0.25, 0.4)  # over a third of the left one's width
    found = boxes(mask(LEFT, over), [known(LEFT, OPPOSITE[0]), known(over, OPPOSITE[1])])
    assert sorted(found) == [pytest.approx(LEFT, abs=0.01), pytest.approx(over, abs=0.01)]


def test_what_was_found_in_two_places_and_moves_alike_is_one_thing() -> None:
    top, bottom = (0.2, 0.2, 0.2, 0.2), (0.2, 0.4, 0.2, 0.2)
    whole = [pytest.approx((0.2, 0.2, 0.2, 0.4))]
    assert boxes(mask(top, bottom), [known(top), known(bottom)]) == whole
    assert boxes(mask(top, bottom), [known((0.2, 0.2, 0.2, 0.4)), known(top, (0.0, 0.3))]) == whole, "it lies in it"
    assert len(boxes(mask(top, bottom), [known(top, OPPOSITE[0]), known(bottom, OPPOSITE[1])])) == 2


def test_a_known_thing_does_not_grow_into_what_it_touches() -> None:
    large: Box = (0.375, 0.1, 0.5, 0.7)
    found = boxes(mask(LEFT, large), [known(LEFT)])
    assert len(found) == 2
    assert found[1] == pytest.approx(LEFT, abs=0.05), "a pixel more where they touch"
    assert found[0] == pytest.approx(large, abs=0.02), "what is left over"
    grown = boxes(mask((0.12, 0.18, 0.28, 0.46)), [known(LEFT)])
    assert len(grown) == 1, "it is only nearer"


def test_what_is_left_over_and_thin_is_no_thing() -> None:
    for bar, count in (((0.375, 0.5778, 0.25, 0.0223), 1), ((0.375, 0.5223, 0.25, 0.0778), 2)):  # 2 and 7 pixels high
        assert len(boxes(mask(LEFT, bar), [known(LEFT)])) == count


def test_what_is_expected_where_nothing_is_is_not_seen() -> None:
    gone = known((0.42, 0.2, 0.1, 0.1), OPPOSITE[1])  # in the corner that the two boxes leave empty
    found = boxes(mask(LEFT, RIGHT), [known(LEFT, OPPOSITE[0]), known(RIGHT, OPPOSITE[1]), gone])
    assert sorted(found) == [pytest.approx(LEFT, abs=0.02), pytest.approx(RIGHT, abs=0.02)]
    assert boxes(mask(), [known(LEFT)]) == []


def test_boxes_that_lie_in_each_other_are_one() -> None:
    outer, inner, apart = (0.1, 0.1, 0.4, 0.4), (0.2, 0.2, 0.1, 0.1), (0.7, 0.7, 0.1, 0.1)
    leaning = (0.4, 0.2, 0.15, 0.1)  # two thirds of it
    assert merge([inner, apart, outer]) == [outer, apart]
    assert merge([leaning, outer]) == [pytest.approx((0.1, 0.1, 0.45, 0.4))]
    assert merge([]) == []


def test_hundreds_of_patches_are_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    meet = apart.meet

    def counting(*args: Any) -> bool:
        nonlocal compared
        compared += 1
        return meet(*args)

    monkeypatch.setattr(apart, "meet", counting)
    small: list[Box] = [(0.05 * (at % 20), 0.1 * (at // 20), 0.025, 0.05) for at in range(200)]
    large: Box = (0.05, 0.067, 0.9, 0.022)  # between the first two rows of them
    found = boxes(mask(*small, large), [known(box, seen=10 + at) for at, box in enumerate(small[:64])])
    assert len(found) == apart.MOST
    assert compared <= 64 * apart.MOST + apart.MOST**2 / 2
    assert found[0][2] == pytest.approx(0.9), "the largest are kept"


def test_a_patch_of_many_known_things_is_taken_apart_into_some(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = 0
    window = apart._window

    def counting(*args: Any) -> Any:
        nonlocal windows
        windows += 1
        return window(*args)

    monkeypatch.setattr(apart, "_window", counting)
    random = np.random.default_rng(3)
    many = [
        known((0.1 * (at % 10), 0.15 * (at // 10), 0.09, 0.14), (float(random.uniform(-1, 1)), 0.0), seen=10 + at)
        for at in range(60)
    ]
    found = boxes(mask((0.0, 0.0, 1.0, 1.0)), many)
    assert 1 < len(found) <= 20
    assert windows <= 17 * 17
