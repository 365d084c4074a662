"""What of the taught images a bundle keeps, and how each of them is held out."""

from __future__ import annotations

import numpy as np
import pytest

from edged.learning.exemplars import LEAST_HELD_OUT, choose, familiarity_of
from edged.vision.familiarity import MOST_EXEMPLARS, directions
from tests.vision.test_familiarity import AFFINE, FEATURES, cloud

NOTHING = np.zeros(FEATURES, np.float32)


def ready(real: np.ndarray) -> np.ndarray:
    return directions(real, NOTHING)


def test_few_taught_images_are_all_kept() -> None:
    assert choose(ready(cloud(40, 1, 0))).tolist() == list(range(40))


def test_of_many_the_chosen_leave_no_rare_kind_out() -> None:
    many, rare = cloud(900, 1, 0), cloud(3, 2, 0)
    chosen = choose(ready(np.concatenate([many, rare])))
    assert len(chosen) == len(set(chosen.tolist())) == MOST_EXEMPLARS
    assert {900, 901, 902} & set(chosen.tolist())
    assert chosen.tolist() == sorted(chosen)
    assert np.array_equal(chosen, choose(ready(np.concatenate([many, rare]))))


def test_a_near_duplicate_does_not_vouch_for_an_image() -> None:
    real = np.repeat(cloud(60, 1, 0), 2, axis=0)  # each twice: as a burst of the camera
    real[1::2] += 0.01
    data = AFFINE.quantize(real, np.int8)
    pairs = [str(number // 2) for number in range(120)]
    grouped = familiarity_of(data, AFFINE, pairs, NOTHING, None, None)
    blind = familiarity_of(data, AFFINE, [str(number) for number in range(120)], NOTHING, None, None)
    assert grouped is not None
    assert blind is not None
    assert grouped.similarity.mean < blind.similarity.mean
    new = cloud(300, 1, 7)
    share = np.mean([grouped.familiarity(grouped.score(one)) < 0.1 for one in new])
    assert share == pytest.approx(0.1, abs=0.06)


def test_the_energy_is_that_of_heads_which_have_not_seen_the_image() -> None:
    real = cloud(100, 1, 0)
    weights, bias = np.stack([real[0], real[1]]), np.zeros(2, np.float32)
    left_out = np.full((2, 100, 2), np.nan, np.float32)
    left_out[0, :50] = 1.0
    left_out[1, :40] = 3.0
    known = familiarity_of(
        AFFINE.quantize(real, np.int8), AFFINE, [str(n) for n in range(100)], NOTHING, (weights, bias), left_out
    )
    assert known is not None
    assert known.head is not None
    assert len(known.held_out) == 50, "an image that no head has judged says nothing"
    energies = np.array([2.0] * 40 + [1.0] * 10) + np.log(2)  # the mean of both divisions, where there are two
    assert known.head.energy.mean == pytest.approx(energies.mean(), abs=1e-4)
    assert known.head.energy.deviation == pytest.approx(energies.std(), abs=1e-4)


def test_too_few_images_say_nothing() -> None:
    data = AFFINE.quantize(cloud(LEAST_HELD_OUT - 1, 1, 0), np.int8)
    groups = [str(number) for number in range(len(data))]
    assert familiarity_of(data, AFFINE, groups, NOTHING, None, None) is None
    burst = familiarity_of(AFFINE.quantize(cloud(50, 1, 0), np.int8), AFFINE, ["one"] * 50, NOTHING, None, None)
    assert burst is None, "fifty pictures of one burst are one picture"
