"""Temperatures of logits, and what scores are worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.learning import calibration
from edged.learning.calibration import (
    Bin,
    brier_score,
    calibrate_scores,
    calibration_error,
    chance_error,
    constant_quality,
    log_loss,
    probabilities,
    quality,
    reliability,
    squared_error,
    temperature,
)
from edged.learning.comparison import FOLDS, Divisions, Predictions, Taught, predict_left_out
from edged.learning.recipe import Recipe
from tests.learning.test_comparison import AFFINE, ids

Array = np.ndarray[Any, Any]


def drawn(images: int, classes: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Logits, and labels that were drawn with the probabilities that they stand for."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (images, classes))
    points = random.random((images, 1))
    return logits, (probabilities(logits).cumsum(axis=1) < points).sum(axis=1)


def predictions(logits: Array, *more: Array) -> Predictions:
    divisions = np.stack([logits, *more]).astype(np.float32)
    free = np.where(np.isnan(divisions).any(axis=2), -1, np.nan_to_num(divisions).argmax(axis=2)).astype(np.int16)
    return Predictions(free, np.full_like(free, -1), divisions)


@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 4.0, 100.0])
def test_logits_that_are_too_great_are_divided_by_as_much(factor: float) -> None:
    logits, labels = drawn(20_000)
    assert temperature(factor * logits, labels) == pytest.approx(factor, rel=0.03)
    exact = temperature(logits, labels)
    assert temperature(factor * logits, labels) == pytest.approx(factor * exact, rel=1e-4), "it has a unit"


@pytest.mark.parametrize(("images", "seed"), [(10, 0), (40, 1), (300, 2), (3, 3)])
def test_no_other_temperature_makes_the_labels_likelier(images: int, seed: int) -> None:
    """Beside a search through many, with half an image of unknown label added."""
    logits, labels = drawn(images, seed=seed)
    logits = 2 * logits
    own = np.eye(4)[labels] * images / (images + 0.5) + 0.5 / (images + 0.5) / 4
    losses = {divisor: -(own * np.log(probabilities(logits, divisor))).sum() for divisor in np.geomspace(0.2, 30, 4000)}
    best = min(losses, key=lambda divisor: losses[divisor])
    assert temperature(logits, labels) == pytest.approx(best, rel=0.003)


def test_where_no_image_is_wrong_scores_are_not_yet_one() -> None:
    """Half an image of unknown label stands against certainty: the more images, the surer."""
    means = []
    for images in (5, 50, 500):
        labels = np.arange(images) % 2
        logits = np.where(np.eye(2)[labels] > 0, 3.0, 0.0)
        means.append(probabilities(logits, temperature(logits, labels)).max(axis=1).mean())
    assert means == pytest.approx([1 - 0.25 / 5.5, 1 - 0.25 / 50.5, 1 - 0.25 / 500.5], abs=1e-4)


def test_a_head_that_knows_nothing_says_so_and_still_prefers_a_class() -> None:
    logits = np.array([[2.0, 0.0], [3.0, 0.0]])
    for labels in (np.array([1, 1]), np.array([0, 1])):
        scores = probabilities(logits, temperature(logits, labels))
        assert scores[:, 0].max() < 0.57
        assert scores[:, 0].min() > 0.53, "13 of 256 steps above one half"


def test_where_nothing_tells_logits_stay_as_they_are() -> None:
    assert temperature(np.full((4, 3), 7.0), np.arange(4) % 3) == 1.0
    assert temperature(np.zeros((0, 3)), np.zeros(0, np.intp)) == 1.0


def test_the_best_class_stays_the_best() -> None:
    logits, _ = drawn(100)
    np.testing.assert_array_equal(probabilities(logits, 0.01).argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(probabilities(logits, 50.0).sum(axis=1), 1)
    assert np.isfinite(probabilities(logits * 1e4)).all()


def test_a_diagram_by_hand() -> None:
    score = np.array([0.62, 0.64, 0.9, 0.9, 1.0, 0.0])
    right = np.array([True, False, True, True, False, True])
    assert reliability(score, right, bins=5) == (
        Bin(1, 0.0, 1.0),
        Bin(2, pytest.approx(0.63), 0.5),
        Bin(3, pytest.approx(2.8 / 3), pytest.approx(2 / 3)),
    )
    assert calibration_error(score, right, bins=5) == pytest.approx((1 + 0.26 + 0.8) / 6)
    assert brier_score(score, right) == pytest.approx((0.38**2 + 0.64**2 + 0.01 + 0.01 + 1 + 1) / 6)
    assert len(reliability(np.linspace(0, 1, 1000), np.ones(1000, bool))) == calibration.BINS == 15
    scores = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert log_loss(scores, np.array([0, 1])) == pytest.approx((math.log(2) + math.log(512)) / 2)


def test_chance_is_taken_off_bin_by_bin() -> None:
    score = np.array([0.9, 0.4, 0.6, 0.7, 0.5])
    right = np.array([True, False, True, False, True])
    low = (0.5 - 2 / 3) ** 2 - (2 / 9) / 2
    high = (0.8 - 0.5) ** 2 - (1 / 4) / 1
    assert squared_error(score, right, bins=2) == pytest.approx(0.6 * low + 0.4 * high)


def test_exact_scores_have_the_error_of_chance_and_no_other() -> None:
    found = []
    for seed in range(200):
        logits, labels = drawn(300, seed=seed)
        scores = probabilities(logits)
        best, right = scores.max(axis=1), scores.argmax(axis=1) == labels
        found.append((calibration_error(best, right), chance_error(best), squared_error(best, right, bins=10)))
    error, chance, squared = np.mean(found, axis=0)
    assert error == pytest.approx(chance, abs=0.004)
    assert chance > 0.03, "300 images are few"
    assert abs(squared) < 0.0005, "without the share of chance nothing is left"
    assert chance_error(np.full(30_000, 0.7)) < 0.005


def test_scores_that_promise_too_much_have_a_greater_error() -> None:
    found = []
    for seed in range(20):
        logits, labels = drawn(500, seed=seed)
        scores = probabilities(3 * logits)
        best, right = scores.max(axis=1), scores.argmax(axis=1) == labels
        too_much = best.mean() - right.mean()
        assert calibration_error(best, right) >= abs(too_much) - 1e-9
        assert too_much > 0.1
        found.append((too_much, squared_error(best, right)))
    mean, squared = np.mean(found, axis=0)
    assert math.sqrt(squared) >= mean


def test_the_same_score_for_every_image_has_no_error_and_tells_nothing() -> None:
    logits, labels = drawn(2000)
    scores = probabilities(logits)
    found, constant = quality(scores, labels), constant_quality(scores.argmax(axis=1) == labels, 4)
    assert constant.error == pytest.approx(0, abs=1e-9)
    assert constant.error < found.error
    assert constant.brier > found.brier
    assert constant.log_loss > found.log_loss
    accuracy = np.mean(scores.argmax(axis=1) == labels)
    assert constant.brier == pytest.approx(accuracy * (1 - accuracy))
    for right in (np.ones(5, bool), np.zeros(5, bool)):
        certain = constant_quality(right, 2)
        assert (certain.error, certain.brier, certain.log_loss) == (0, 0, 0)


def test_scores_of_images_left_out_are_calibrated() -> None:
    logits, labels = drawn(1500)
    found = calibrate_scores(predictions(3 * logits), labels)
    assert found is not None
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.images == sum(one.images for one in found.bins) == 1500
    assert found.after.error < 0.04
    assert found.before.error > 0.1
    assert found.after.log_loss < found.before.log_loss
    assert found.after.brier < found.before.brier < 1
    assert found.constant == constant_quality(logits.argmax(axis=1) == labels, 4)
    scores = probabilities((3 * logits).astype(np.float32), found.temperature)
    assert found.bins == reliability(scores.max(axis=1), scores.argmax(axis=1) == labels)
    assert [one.score for one in found.bins] == sorted(one.score for one in found.bins)


def test_only_what_was_judged_counts_and_further_divisions_change_nothing() -> None:
    """With a model to compare with images are divided more often; the new file must be the same."""
    logits, labels = drawn(400)
    missing = logits.copy()
    missing[100:] = np.nan
    found = calibrate_scores(predictions(missing), labels)
    assert found is not None
    assert found.images == 100
    assert found == calibrate_scores(predictions(logits[:100]), labels[:100])
    assert found == calibrate_scores(predictions(missing, 9 * logits), labels)
    assert calibrate_scores(predictions(np.full_like(logits, np.nan)), labels) is None
    free = logits.argmax(axis=1).astype(np.int16)[np.newaxis]
    assert calibrate_scores(Predictions(free, free), labels) is None, "an exported file has no logits"


def test_a_head_is_as_sure_of_new_images_as_it_may_be() -> None:
    """Labels drawn at random cannot be guessed: the head is sure of the images that it was made of, and wrong."""
    random = np.random.default_rng(1)
    features, labels = random.integers(0, 256, (240, 400)).astype(np.uint8), random.integers(0, 2, 240)
    taught = Taught(features, labels, 2, AFFINE, Recipe(Hyperparameters(batch=16), 60))
    found = calibrate_scores(predict_left_out(taught, ids(240), Divisions(1, FOLDS)), labels)
    assert found is not None
    head = taught.recipe.fit(features, labels, classes=2, affine=AFFINE)
    unseen = random.integers(0, 256, (500, 400)).astype(np.uint8)
    sure, honest = (
        probabilities(one.logits(unseen, AFFINE)).max(axis=1).mean() for one in (head, head.divided(found.temperature))
    )
    assert sure > 0.8
    assert honest < 0.65
