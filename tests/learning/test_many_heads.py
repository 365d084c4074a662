"""Heads that are trained side by side are those that would be trained one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import TrainingError
from edged.learning.many_heads import fit_spanned
from edged.learning.softmax_regression import fit, learning_rates
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES, FEATURES = 4, 160
RATES = learning_rates(0.1, 30, (20,))


def bottlenecks(images: int, seed: int, dtype: type[np.uint8] | type[np.int8]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    centres = np.abs(np.random.default_rng(98).standard_normal((CLASSES, FEATURES))) * 12
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, images)
    raw = np.clip(centres[labels] + random.standard_normal((images, FEATURES)) * 25, 0, 255).astype(np.uint8)
    return (raw if dtype is np.uint8 else (raw ^ 0x80).view(np.int8)), labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("sizes", "batch"),
    [
        ((60, 57, 61, 60), 16),  # four steps an epoch, of 14 to 16
        ((64, 65, 63), 16),  # four and five steps
        ((40, 33, 9), 64),  # one step, of all
        ((7,), 2),
    ],
)
def test_each_head_is_what_it_would_be_alone(
    sizes: tuple[int, ...], batch: int, dtype: type[np.uint8] | type[np.int8]
) -> None:
    affine = Affine(0.0235, 0 if dtype is np.uint8 else -128)
    how = Hyperparameters(batch=batch, l2=1e-3, seed=5)
    sets = [bottlenecks(size, seed, dtype) for seed, size in enumerate(sizes)]
    sets[0][1][sets[0][1] == 2] = 1  # a label that one of the sets lacks
    together = fit_spanned(sets, classes=CLASSES, affine=affine, hyperparameters=how, rates=RATES)
    probe, _ = bottlenecks(200, 99, dtype)
    for one, head in zip(sets, together, strict=True):
        alone = fit(*one, classes=CLASSES, affine=affine, hyperparameters=how, rates=RATES)
        assert head is not None
        assert head.weights.dtype == head.bias.dtype == np.float32
        np.testing.assert_allclose(head.weights, alone.weights, atol=2e-5 * np.abs(alone.weights).max())
        np.testing.assert_allclose(head.logits(probe, affine), alone.logits(probe, affine), atol=1e-3)


def test_views_count_as_examples() -> None:
    features, labels = bottlenecks(40, 1, np.uint8)
    views = np.stack([features[:20], features[20:]], axis=1)
    how = Hyperparameters(batch=16)
    (head,) = fit_spanned(
        [(views, labels[:20])], classes=CLASSES, affine=Affine(1.0, 0), hyperparameters=how, rates=RATES
    )
    alone = fit(views, labels[:20], classes=CLASSES, hyperparameters=how, rates=RATES)
    assert head is not None
    np.testing.assert_allclose(head.logits(features), alone.logits(features), atol=1e-3)


def test_a_set_that_allows_no_training_has_no_head_and_the_others_have() -> None:
    good = bottlenecks(30, 1, np.uint8)
    same = np.full((30, FEATURES), 7, np.uint8)
    sets = [(same, good[1]), good, (good[0], np.zeros(30, np.intp))]
    heads = fit_spanned(sets, classes=CLASSES, affine=Affine(1.0, 0), hyperparameters=Hyperparameters(), rates=RATES)
    assert [head is None for head in heads] == [True, False, True]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of numbers that have become too large
def test_what_diverges_is_no_head() -> None:
    features, labels = bottlenecks(60, 1, np.uint8)
    affine, how, rates = Affine(1.0, 0), Hyperparameters(lr=100, l2=1.0, epochs=100), learning_rates(100, 100, ())
    heads = fit_spanned([(features, labels)], classes=CLASSES, affine=affine, hyperparameters=how, rates=rates)
    assert heads == [None]
    with pytest.raises(TrainingError, match="the training diverged; a smaller learning rate"):
        fit(features, labels, classes=CLASSES, hyperparameters=how, rates=rates)
