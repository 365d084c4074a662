"""Boxes of what moves, on drawn frames of which every place is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edged.regions import Motion, Tracker, overlap
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


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_a_small_thing_is_found_where_it_is_in_a_large_frame(width: int, height: int) -> None:
    """Most rows of such a frame are not read."""
    motion, wall = Motion(), Wall(noise=6, width=width, height=height)
    looked(motion, wall, QUIET)
    for step in range(8):
        box = (0.05 + 0.015 * step, 0.3, 0.06, 0.06 * 16 / 9)
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


@pytest.mark.parametrize("light", [0.0, 0.1])
def test_a_camera_that_begins_in_the_dark_sees_by_day(light: float) -> None:
    motion, wall = Motion(), Wall()
    moments = iter(range(1000))
    for level in (*[light] * 3, *[1.0] * 20):
        motion(wall.frame(light=level), next(moments) / FPS)
    for left in np.arange(0.1, 0.5, 0.02):
        truth = (float(left), 0.3, 0.2, 0.3)
        found = motion(wall.frame([truth]), next(moments) / FPS)
        assert max(overlap(box, truth) for box in found) > 0.5


def test_dusk_makes_nothing_move() -> None:
    """Amplified to the light of noon, noise would be as strong as things are."""
    motion, wall = Motion(), Wall(width=160, height=120)
    for at, light in enumerate((*[1.0] * 20, *np.linspace(1, 0.1, 100), *[0.1] * 40)):
        assert motion(wall.frame(light=float(light)), at / FPS) == []


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


def shown(picture: NDArray[np.uint8], thing: NDArray[np.uint8], left: int, noise: np.random.Generator) -> Any:
    """Paste a thing 60 pixels below the upper edge, and add noise."""
    image = picture.astype(np.float32)
    image[60 : 60 + thing.shape[0], left : left + thing.shape[1]] = thing
    return np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def test_what_the_background_has_learned_of_a_thing_is_found_by_what_it_changes() -> None:
    motion, noise, grey = Motion(), np.random.default_rng(5), np.full((180, 320, 3), 120, np.uint8)
    stripes = (180 + 40 * np.sin(np.arange(200) * 2 * np.pi / 16)).astype(np.uint8)
    thing = np.repeat(np.repeat(stripes[np.newaxis, :, np.newaxis], 60, 0), 3, 2)  # its colours pass again and again
    for step in range(QUIET):
        motion(shown(grey, grey[:1, :1], 0, noise), step / FPS)
    for step in range(22):
        found = motion(shown(grey, thing, 5 * step, noise), (QUIET + step) / FPS)
        assert overlap(found[0], (5 * step / 320, 60 / 180, 200 / 320, 60 / 180)) > 0.7


def test_where_a_thing_has_just_been_is_no_part_of_it() -> None:
    motion, wall = Motion(), Wall()
    looked(motion, wall, QUIET)
    lefts = [0.1 + 0.01 * step for step in range(12)]
    for step, left in enumerate([*lefts, lefts[-1] + 0.09]):  # slowly, and then nearly its own width at once
        box = (left, 0.3, 0.1, 0.2)
        found = motion(wall.frame([box]), (QUIET + step) / FPS)
        assert len(found) == 1
        assert overlap(found[0], box) > 0.7


def test_a_thing_full_of_holes_is_one() -> None:
    motion, noise, grey = Motion(), np.random.default_rng(5), np.full((180, 320, 3), 120, np.uint8)
    thing = np.full((25, 25, 3), 220, np.uint8)
    thing[noise.random((25, 25)) < 0.3] = 120
    thing = thing.repeat(2, 0).repeat(2, 1)
    for step in range(QUIET):
        motion(shown(grey, grey[:1, :1], 0, noise), step / FPS)
    for step in range(20):
        found = motion(shown(grey, thing, 8 * step, noise), (QUIET + step) / FPS)
        assert len(found) == 1
        assert overlap(found[0], (8 * step / 320, 60 / 180, 50 / 320, 50 / 180)) > 0.7


def test_two_that_pass_each_other_stay_two() -> None:
    motion, wall, tracker = Motion(), Wall(), Tracker()
    looked(motion, wall, QUIET)
    tracks: list[set[str]] = [set(), set()]
    for step in range(36):
        now_s = (QUIET + step) / FPS
        boxes: list[Box] = [(0.05 + 0.02 * step, 0.1, 0.16, 0.4), (0.75 - 0.02 * step, 0.48, 0.16, 0.4)]
        regions = tracker.update(motion(wall.frame(boxes), now_s, tracker.expected(now_s)), now_s)
        if step >= 6:
            for box, names in zip(boxes, tracks, strict=True):
                best = max(regions, key=lambda region: overlap(region.box, box))
                assert overlap(best.box, box) > 0.6
                names.add(best.track)
    assert [len(names) for names in tracks] == [1, 1], "each kept its name"
