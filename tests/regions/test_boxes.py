"""Crops, fixed regions and grids, and whose turn it is."""

from __future__ import annotations

import numpy as np
import pytest

from edged.regions import Turns, crop, fixed, grid, overlap
from edged.types import Region
from edged.vision.preprocess import IMAGENET_CROP, fit


def test_overlap_is_intersection_over_union() -> None:
    one = (0.0, 0.0, 0.4, 0.4)
    assert overlap(one, one) == 1
    assert overlap(one, (0.2, 0.0, 0.4, 0.4)) == pytest.approx(1 / 3)
    assert overlap(one, (0.4, 0.0, 0.4, 0.4)) == 0
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_a_network_sees_the_box_and_all_of_it() -> None:
    image = np.zeros((200, 400, 3), np.uint8)
    image[60:100, 150:230] = 255  # 80 wide, 40 high
    seen = fit(crop(image, (150 / 400, 60 / 200, 80 / 400, 40 / 200)), 80, 80, IMAGENET_CROP)
    rows, columns = np.flatnonzero(seen[:, 40].any(axis=1)), np.flatnonzero(seen[40].any(axis=1))
    assert (rows[0], rows[-1]) == pytest.approx((20, 59), abs=1), "in the middle, and not distorted"
    assert (columns[0], columns[-1]) == pytest.approx((0, 79), abs=1)


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((0, 0, 0.1, 0.2), (46, 46)),
        ((0.9, 0.8, 0.1, 0.2), (46, 46)),
        ((0, 0, 1, 1), (200, 400)),
        ((0.99, 0.99, 0.0001, 0.0001), (1, 1)),
        ((0.0, 0.4, 1.0, 0.1), (200, 400)),
    ],
)
def test_a_crop_is_square_and_inside(box: tuple[float, float, float, float], shape: tuple[int, int]) -> None:
    assert crop(np.zeros((200, 400, 3), np.uint8), box).shape[:2] == shape


def test_a_crop_at_the_edge_is_pushed_inside() -> None:
    image = np.arange(100, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(100, 0).repeat(3, 2)
    assert crop(image, (0, 0.4, 0.2, 0.2))[0, 0, 0] == 0
    assert crop(image, (0.8, 0.4, 0.2, 0.2))[0, -1, 0] == 99


def test_a_grid_covers_the_frame_row_by_row() -> None:
    cells = grid(3, 2)
    assert [cell.track for cell in cells] == ["1x1", "2x1", "3x1", "1x2", "2x2", "3x2"]
    assert cells[4].box == (0.3333, 0.5, 0.3333, 0.5)
    assert sum(cell.box[2] * cell.box[3] for cell in cells) == pytest.approx(1, abs=1e-3)


def test_fixed_regions_have_their_names() -> None:
    till, door = fixed({"till": (0, 0, 0.5, 0.5), "door": (0.5, 0, 0.5, 1)})
    assert (till.track, door.track) == ("till", "door")
    assert till.born > door.born, "the first one comes first"


def test_new_things_come_first_and_then_who_has_waited_longest() -> None:
    turns = Turns()
    one, two, three = (Region(str(number), (0, 0, 0.1, 0.1), number) for number in (1, 2, 3))

    def classified(*regions: Region, room: int = 2) -> list[str]:
        chosen = turns.order("main", regions)[:room]
        for region in chosen:
            turns.take("main", region)
        return [region.track for region in chosen]

    assert classified(two, one) == ["2", "1"]
    assert classified(three, two, one) == ["3", "2"]
    assert classified(three, two, one) == ["1", "3"]
    assert classified(three, two, one) == ["2", "1"]


def test_what_is_lost_from_sight_waits_and_cameras_do_not_share_turns() -> None:
    turns = Turns()
    hidden, there = Region("1", (0, 0, 1, 1), 1, visible=False), Region("2", (0, 0, 1, 1), 2)
    assert turns.order("main", [there, hidden]) == [there]
    turns.take("main", there)
    again = Region("1", (0, 0, 1, 1), 1)
    assert turns.order("main", [there, again]) == [again, there]
    assert turns.order("door", [there, again]) == [there, again]
