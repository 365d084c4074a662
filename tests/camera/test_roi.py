import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edged.camera.roi import WHOLE, crop_roi

IMAGE = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)


def test_whole_frame_is_the_frame() -> None:
    assert crop_roi(IMAGE, WHOLE) is IMAGE


def test_quarter() -> None:
    np.testing.assert_array_equal(crop_roi(IMAGE, (0.5, 0.25, 0.5, 0.5)), IMAGE[12:36, 32:])


def test_is_a_view() -> None:
    assert np.shares_memory(crop_roi(IMAGE, (0.1, 0.1, 0.3, 0.3)), IMAGE)


@given(
    st.floats(0, 0.999999),
    st.floats(0, 0.999999),
    st.floats(1e-9, 1),
    st.floats(1e-9, 1),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_never_empty_and_never_outside(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    crop = crop_roi(image, (x, y, min(width, 1 - x), min(height, 1 - y)))
    assert 1 <= crop.shape[0] <= size[0]
    assert 1 <= crop.shape[1] <= size[1]


def test_halves_meet_without_overlap() -> None:
    for pixels in (7, 8, 321):
        image = np.zeros((pixels, pixels, 3), np.uint8)
        left = crop_roi(image, (0, 0, 0.5, 1)).shape[1]
        right = crop_roi(image, (0.5, 0, 0.5, 1)).shape[1]
        assert left + right == pixels
