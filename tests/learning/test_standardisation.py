"""Features on one scale, measured a part at a time."""

from __future__ import annotations

import numpy as np
import pytest

from edged.learning.standardisation import ROWS, Standardisation, enough_of, largest_eigenvalue


@pytest.mark.parametrize("count", [3, 100, ROWS, 3 * ROWS + 7])
def test_examples_have_mean_0_and_a_mean_squared_norm_of_1(count: int) -> None:
    random = np.random.default_rng(count)
    rows = (random.random((count, 20)) * np.linspace(1, 200, 20)).astype(np.uint8)
    inputs = Standardisation.of(rows).apply(rows).astype(np.float64)
    assert inputs.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert (inputs**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_a_feature_that_hardly_varies_is_raised_by_less_than_one_that_does() -> None:
    rows = np.array([[0, 8, 100], [6, 0, 100]] * 50, np.float32)  # variances 9, 16 and 0: 25/3 is typical
    gain = Standardisation.of(rows).gain
    assert gain[0] / gain[1] == pytest.approx(np.sqrt((16 + 25 / 6) / (9 + 25 / 6)))
    assert gain[2] / gain[1] == pytest.approx(np.sqrt((16 + 25 / 6) / (25 / 6)))


@pytest.mark.parametrize("count", [3, 100, 2 * ROWS, 5 * ROWS])
def test_the_largest_eigenvalue_is_found_from_below(count: int) -> None:
    random = np.random.default_rng(count)
    rows = (random.normal(size=(count, 30)) + 3 * random.normal(size=(count, 1)) * np.linspace(-1, 1, 30)) * 10
    inputs = Standardisation.of(rows.astype(np.float32)).apply(rows.astype(np.float32))
    found = largest_eigenvalue(inputs[enough_of(count)])
    largest = np.linalg.eigvalsh(inputs.T.astype(np.float64) @ inputs / count).max()
    assert 0.95 * largest < found <= 1.05 * largest  # above 2 * ROWS some rows stand for all


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("count", [3, 255, 256, 257, 1000])
def test_bytes_are_measured_exactly(count: int, dtype: type[np.uint8] | type[np.int8]) -> None:
    """Also where every byte is as far from 0 as it can be: the sums of squares are the largest then."""
    limits = np.iinfo(dtype)
    rows = np.random.default_rng(count).integers(limits.min, limits.max, (count, 6), dtype, endpoint=True)
    rows[:, 0] = limits.min if dtype is np.int8 else limits.max
    rows[:, 1] = np.where(np.arange(count) % 2, limits.min, limits.max)
    from_bytes, from_reals = Standardisation.of(rows), Standardisation.of(rows.astype(np.float32))
    np.testing.assert_array_equal(from_bytes.mean, from_reals.mean)
    np.testing.assert_array_equal(from_bytes.gain, from_reals.gain)
