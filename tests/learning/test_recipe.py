"""A head is made twice, and can be made again of other images."""

from __future__ import annotations

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.learning.recipe import Recipe, in_views, make_head
from edged.learning.softmax_regression import EpochReport, fit, learning_rates
from edged.vision.quantization import Affine

AFFINE = Affine(0.1, 0)


def examples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(9).normal(0, 0.5, (3, 40))
    return np.clip(128 + 20 * (centres[labels] + random.normal(0, 1, (count, 40))), 0, 255).astype(np.uint8), labels


def test_the_way_of_a_training_is_gone_again() -> None:
    """Rates that were cut on the way lead to the same weights when the way is gone without validation images."""
    train, validation = examples(300, 0), examples(12, 100)
    how = Hyperparameters(lr=1.0, batch=8, l2=0.3)
    told: list[EpochReport] = []
    made = make_head(train, validation, classes=3, affine=AFFINE, hyperparameters=how, progress=told.append)
    assert tuple(told) == made.chosen.history
    assert made.recipe.epochs == made.chosen.best_epoch
    assert made.recipe.cuts, "the example must cut the rate"
    again = made.recipe.fit(*train, classes=3, affine=AFFINE)
    np.testing.assert_array_equal(again.weights, made.chosen.weights)
    np.testing.assert_array_equal(again.bias, made.chosen.bias)
    straight = Recipe(made.recipe.hyperparameters, made.recipe.epochs).fit(*train, classes=3, affine=AFFINE)
    assert not np.array_equal(straight.weights, made.chosen.weights)


def test_the_head_is_made_of_the_validation_side_too() -> None:
    train, validation = examples(12, 0), examples(12, 1)
    hyperparameters = Hyperparameters()
    made = make_head(train, validation, classes=3, affine=AFFINE, hyperparameters=hyperparameters)
    both = (np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]]))
    np.testing.assert_array_equal(made.head.weights, made.recipe.fit(*both, classes=3, affine=AFFINE).weights)
    unseen = examples(3000, 2)

    def accuracy(head: object) -> float:
        return float((head.logits(unseen[0], AFFINE).argmax(axis=1) == unseen[1]).mean())  # type: ignore[attr-defined] # either head

    assert accuracy(made.head) > accuracy(made.chosen) + 0.02


def test_without_validation_images_there_is_one_head() -> None:
    train = examples(30, 0)
    nothing = (train[0][:0], train[1][:0])
    made = make_head(train, nothing, classes=3, affine=AFFINE, hyperparameters=Hyperparameters(epochs=7))
    assert made.head is made.chosen
    assert (made.recipe.epochs, made.recipe.cuts) == (7, ())


def test_plain_images_stand_for_all_views() -> None:
    plain = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert in_views(plain, np.zeros((5, 3), np.uint8)) is plain
    views = in_views(plain, np.zeros((5, 4, 3), np.uint8))
    assert views.shape == (2, 4, 3)
    assert (views == plain[:, np.newaxis]).all()


def test_rates_are_cut_where_they_were() -> None:
    assert learning_rates(1.0, 4, ()) == (1.0, 1.0, 1.0, 1.0)
    assert learning_rates(1.0, 4, (1, 3)) == pytest.approx((1.0, 0.3, 0.3, 0.09))
    head = fit(*examples(30, 0), classes=3, affine=AFFINE, rates=learning_rates(0.1, 3, (2,)))
    assert [epoch.lr for epoch in head.history] == pytest.approx([0.1, 0.1, 0.03])
    assert head.cuts == (2,)
