"""When a new model may take the place of the one that answers."""

import numpy as np
import pytest

from edged.learning.gate import decide


def outcomes(both: int, lost: int, won: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """New and old model's correctness."""
    new = np.repeat([True, False, True, False], [both, lost, won, neither])
    old = np.repeat([True, True, False, False], [both, lost, won, neither])
    return new, old


def test_no_test_images_and_a_low_accuracy_are_refused() -> None:
    nothing = np.empty(0, bool)
    assert not decide(nothing, None, 0.0).promote
    verdict = decide(np.array([True, False, False]), None, 0.5)
    assert not verdict.promote
    assert verdict.reason == "test accuracy 33.3% is under min_accuracy 50.0%"


def test_without_a_current_model_enough_is_enough() -> None:
    assert decide(np.array([True, False]), None, 0.5).promote
    assert decide(np.array([True, True]), np.empty(0, bool), 0.5, np.zeros(2, bool)).promote


@pytest.mark.parametrize(
    ("lost", "won", "promoted"),
    [
        (0, 0, True),
        (0, 30, True),
        (10, 10, True),
        (4, 0, True),  # P(B ≥ 4 | 4) = 6.25 %
        (5, 0, False),  # P(B ≥ 5 | 5) = 3.1 %
        (19, 11, True),  # P(B ≥ 19 | 30) = 10 %
        (20, 10, False),  # P(B ≥ 20 | 30) = 4.94 %
    ],
)
def test_only_a_drop_that_chance_does_not_explain_is_refused(lost: int, won: int, promoted: bool) -> None:
    new, old = outcomes(600, lost, won, 50)
    verdict = decide(new, old, 0.5)
    assert verdict.promote is promoted
    assert verdict.difference == pytest.approx((won - lost) / len(new))
    assert verdict.noise is not None
    assert (-verdict.difference > verdict.noise) is not promoted
    assert "\n" not in verdict.reason


def test_the_noise_of_a_large_test_set_is_computed_without_overflow() -> None:
    new, old = outcomes(20_000, 1500, 1500)
    verdict = decide(new, old, 0.5)
    assert verdict.promote
    assert verdict.noise == pytest.approx(1.645 * 3000**0.5 / 23_000, rel=0.05)


def test_only_images_whose_label_the_current_model_knows_are_compared() -> None:
    new = np.array([True] * 10 + [False] * 6)
    shared = np.array([True] * 10 + [False] * 6)
    verdict = decide(new, np.array([True] * 10), 0.5, shared)
    assert verdict.promote
    assert verdict.difference == 0
