"""Features on one scale, measured a part at a time."""

from __future__ import annotations

import numpy as np
import pytest

from edged.learning.standardisation import ROWS, Standardisation


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
    scaling = Standardisation.of(rows.astype(np.float32))
    inputs = scaling.apply(rows.astype(np.float32)).astype(np.float64)
    largest = np.linalg.eigvalsh(inputs.T @ inputs / count).max()
    assert 0.95 * largest < scaling.largest_eigenvalue <= 1.05 * largest  # above 4 * ROWS some rows stand for all
