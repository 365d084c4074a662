import cv2
import numpy as np
import pytest

from edged.vision.preprocess import fit


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (224, 224), (1, 1), (3, 2000), (100, 90)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_any_size_becomes_the_inputs_size(size: tuple[int, int], crop: float) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    result = fit(image, 224, 192, crop)
    assert result.shape == (192, 224, 3)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert (result == 77).all()


def test_the_centre_is_kept() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 50:150] = 255
    assert (fit(image, 10, 10, 1.0) == 255).all()
    image[:, :60] = image[:, 140:] = 0
    assert fit(image, 10, 10, 1.0)[:, [0, -1]].max() == 0
    assert (fit(image, 10, 10, 0.75) == 255).all()


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(fit(image, 64, 64, 1.0), image)


def test_shrinking_averages() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(fit(stripes, 64, 64, 1.0).astype(int) - 128).max() <= 1


@pytest.mark.parametrize("side", [100, 256, 300, 500, 600])
def test_quick_is_nearly_the_same_picture(side: int) -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    exact, quick = fit(image, 224, 224).astype(int), fit(image, 224, 224, quick=True)
    assert quick.shape == (224, 224, 3)
    assert quick.flags.c_contiguous
    assert abs(exact - quick).max() <= 10
    assert abs(exact - quick).mean() < 2


def test_quick_averages_what_is_twice_as_large() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(fit(stripes, 224, 224, 1.0, quick=True).astype(int) - 128).max() <= 1
