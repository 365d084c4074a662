import numpy as np
import pytest

from edged.learning.augment import AUGMENTED, View, make_view

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize("view", AUGMENTED)
def test_a_view_is_the_same_for_the_same_seed_and_leaves_the_photo_alone(view: View) -> None:
    before = PHOTO.copy()
    first, second = make_view(PHOTO, view, 5), make_view(PHOTO, view, 5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(PHOTO, before)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def test_a_flip_twice_is_the_photo() -> None:
    np.testing.assert_array_equal(make_view(make_view(PHOTO, "flip", 1), "flip", 2), PHOTO)
    np.testing.assert_array_equal(make_view(PHOTO, "plain", 1), PHOTO)


def test_crops_lie_anywhere_and_keep_most() -> None:
    shapes = {make_view(PHOTO, "crop", seed).shape for seed in range(30)}
    assert len(shapes) > 5
    assert all(45 <= rows < 60 and 60 <= columns < 80 for rows, columns, _ in shapes)
    assert make_view(np.zeros((1, 1, 3), np.uint8), "crop", 0).shape == (1, 1, 3)


def test_brightness_goes_both_ways_and_saturates() -> None:
    grey = np.full((4, 4, 3), 128, np.uint8)
    values = [int(make_view(grey, "brightness", seed)[0, 0, 0]) for seed in range(40)]
    assert 70 < min(values) < 110
    assert 150 < max(values) <= 192
    white = np.full((4, 4, 3), 255, np.uint8)
    assert max(int(make_view(white, "brightness", seed).max()) for seed in range(20)) == 255
