"""Shrinking in little time: where everything is stays, and noise is averaged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.scaling import shrink


@pytest.mark.parametrize("rows", [2, 4])
@pytest.mark.parametrize("size", [(360, 640), (432, 768), (720, 1280), (1080, 1920), (2160, 3840), (100, 170)])
def test_what_is_where_stays_there(size: tuple[int, int], rows: int) -> None:
    image = np.zeros((*size, 3), np.uint8)
    cv2.circle(image, (size[1] * 3 // 8, size[0] // 2), size[0] // 4, (200, 100, 50), -1)
    small = shrink(image, 160, 90, rows=rows)
    assert small.shape == (90, 160, 3)
    assert small.dtype == np.uint8
    exact = cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA)
    rows, columns = (np.flatnonzero((small[:, :, 0] > 100).any(axis=axis)) for axis in (1, 0))
    there = [np.flatnonzero((exact[:, :, 0] > 100).any(axis=axis)) for axis in (1, 0)]
    assert (rows[0], rows[-1]) == pytest.approx((there[0][0], there[0][-1]), abs=1)
    assert (columns[0], columns[-1]) == pytest.approx((there[1][0], there[1][-1]), abs=1)
    assert np.median(small[40:50, 55:65], axis=(0, 1)).tolist() == [200, 100, 50]


@pytest.mark.parametrize("rows", [2, 4])
@pytest.mark.parametrize("size", [(360, 640), (720, 1280), (731, 1301), (1080, 1920), (2160, 3840)])
def test_noise_is_averaged_from_sixteen_pixels_and_more(size: tuple[int, int], rows: int) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert shrink(noise, 160, 90, rows=rows).std() < 1.1 * noise.std() / 4


def test_of_a_large_image_only_the_rows_that_make_one_are_read() -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    image[2::4] = 80  # every fourth row from the third one on
    assert (shrink(image, 160, 90, rows=2) == 80).all()
    assert (shrink(image, 160, 90) < 80).all()


def test_what_has_the_size_is_returned_and_a_smaller_one_enlarged() -> None:
    image = np.full((90, 160, 3), 7, np.uint8)
    assert shrink(image, 160, 90) is image
    assert (shrink(image, 321, 200) == 7).all()
    assert shrink(np.full((1, 2000, 3), 9, np.uint8), 160, 1).tolist() == [[[9] * 3] * 160]
