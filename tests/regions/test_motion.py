"""Boxes of what moves, on drawn frames of which every place is known."""

from __future__ import annotations

import numpy as np
import pytest

from edged.regions import Motion, overlap
from edged.regions.motion import merge
from edged.types import Box
from tests.regions.synthetic import FPS, Wall

QUIET = 20


def looked(motion: Motion, wall: Wall, frames: int, *, light: float = 1.0) -> list[list[Box]]:
    """Show so many empty frames, one after another from 0 s on; return what was found in each."""
    return [motion(wall.frame(light=light), at / FPS) for at in range(frames)]


def test_nothing_moves_nothing_is_found() -> None:
    assert looked(Motion(), Wall(noise=6), 60) == [[]] * 60


@pytest.mark.parametrize("size", [0.05, 0.1, 0.3])
def test_a_thing_that_moves_is_found_where_it_is(size: float) -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    for step in range(30):
        box = (0.05 + 0.015 * step, 0.3, size, size * 16 / 9)
        found = motion(wall.frame([box]), (QUIET + step) / FPS)
        assert len(found) == 1
        assert overlap(found[0], box) > 0.6


def test_two_things_are_two_boxes_the_larger_first() -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    for step in range(20):
        small, large = (0.1 + 0.01 * step, 0.1, 0.1, 0.15), (0.8 - 0.02 * step, 0.5, 0.18, 0.3)
        found = motion(wall.frame([small, large]), (QUIET + step) / FPS)
        assert len(found) == 2
        assert overlap(found[0], large) > 0.6
        assert overlap(found[1], small) > 0.6


def test_light_that_changes_is_nothing_that_moves() -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    slowly = [motion(wall.frame(light=1 - 0.01 * step), (QUIET + step) / FPS) for step in range(30)]
    assert slowly == [[]] * 30
    at_once = [motion(wall.frame(light=1.1), (QUIET + 30 + step) / FPS) for step in range(20)]
    assert at_once == [[]] * 20


def test_another_picture_is_learned_anew() -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    turned = np.ascontiguousarray(wall.frame()[:, ::-1])
    found = [motion(turned, (QUIET + step) / FPS) for step in range(30)]
    assert found[0] == [], "all of it moved: it was the camera"
    assert found[-1] == []
    larger = Wall(width=400, height=300)
    assert looked(motion, larger, QUIET) == [[]] * QUIET, "frames of another size"


def test_what_stops_becomes_background() -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    box = (0.4, 0.4, 0.2, 0.3)
    found = [motion(wall.frame([box]), (QUIET + step) / FPS) for step in range(90)]
    assert found[0]
    assert found[-1] == []


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (7, 5), (2000, 3)])
def test_frames_of_any_size_do(size: tuple[int, int]) -> None:
    motion = Motion()
    for at in range(16):
        motion(np.full((*size, 3), 100 + at % 2, np.uint8), at / FPS)


def test_boxes_that_lie_in_each_other_are_one() -> None:
    outer, inner, apart = (0.1, 0.1, 0.4, 0.4), (0.2, 0.2, 0.1, 0.1), (0.7, 0.7, 0.1, 0.1)
    leaning = (0.4, 0.2, 0.15, 0.1)  # two thirds of it
    assert merge([inner, apart, outer]) == [outer, apart]
    assert merge([leaning, outer]) == [pytest.approx((0.1, 0.1, 0.45, 0.4))]
    assert merge([]) == []
