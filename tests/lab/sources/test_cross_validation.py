import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.lab.sources.cross_validation import FOLDS, CrossValidation, assign_folds, cross_validate
from edged.learning.softmax_regression import fit
from edged.vision.quantization import Affine
from edged.vision.scores import softmax


def test_near_duplicates_stay_together_and_classes_are_spread():
    labels = np.repeat(np.arange(3), 20)
    groups = [f"{label}-{number // 2}" for label in range(3) for number in range(20)]
    folds = assign_folds(labels, groups, 5, seed=3)
    assert {group: set(folds[[one == group for one in groups]]) for group in groups} == {
        group: {folds[groups.index(group)]} for group in groups
    }
    for label in range(3):
        assert np.bincount(folds[labels == label], minlength=5).tolist() == [4] * 5
    assert np.array_equal(folds, assign_folds(labels, groups, 5, seed=3))


def test_gaussians_are_told_apart_and_noise_is_not():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    means = random.integers(60, 200, (3, 24))
    near = np.clip(means[labels] + random.normal(0, 10, (90, 24)), 0, 255).astype(np.uint8)
    groups = [str(number) for number in range(90)]
    affine = Affine(0.02, 0)
    told = cross_validate(near, labels, groups, classes=3, affine=affine)
    assert told.accuracy > 0.95
    assert len(told.correct) == 90
    noise = random.integers(0, 256, (90, 24)).astype(np.uint8)
    guessed = cross_validate(noise, labels, groups, classes=3, affine=affine)
    assert 0.1 < guessed.accuracy < 0.6
    assert 0.03 < guessed.error < 0.06
    assert np.array_equal(told.correct, cross_validate(near, labels, groups, classes=3, affine=affine).correct)


def test_accuracy_and_its_error_by_hand():
    found = CrossValidation(np.array([True] * 9 + [False]), np.zeros(10))
    assert found.accuracy == pytest.approx(0.9)
    assert found.error == pytest.approx(np.sqrt(0.9 * 0.1 / 10))


def test_folds_are_as_even_as_can_be_and_another_seed_deals_otherwise():
    labels = np.array([0] * 7 + [1] * 5 + [2] * 3)
    groups = [str(number) for number in range(15)]
    folds = assign_folds(labels, groups)
    assert np.bincount(folds, minlength=FOLDS).tolist() == [3] * FOLDS
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(folds, assign_folds(labels, groups, seed=1))
    assert set(assign_folds(labels, groups, 2).tolist()) == {0, 1}
    assert assign_folds(labels[:3], groups[:3]).tolist().count(0) == 1, "fewer images than folds: each its own"


def test_a_group_is_dealt_once_with_the_label_of_its_first_image():
    labels = np.array([0, 1, 1, 1, 1, 1])
    groups = ["a", "a", "b", "c", "d", "e"]
    folds = assign_folds(labels, groups)
    assert folds[0] == folds[1] == 0
    assert sorted(folds[2:].tolist()) == [1, 2, 3, 4]


def test_each_image_is_judged_by_the_head_that_did_not_see_it():
    """Two images that look like no other: their own fold's head cannot know them; one that saw them would."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    rows = np.zeros((80, 16))
    rows[:, 0], rows[:, 1] = 200 * (labels == 0), 200 * (labels == 1)
    rows[:, 2:] = random.integers(0, 20, (80, 14))
    odd = [3, 47]
    rows[odd] = rows[odd[::-1]]  # they look like the other label
    found = cross_validate(
        rows.astype(np.uint8), labels, [str(n) for n in range(80)], classes=2, affine=Affine(0.05, 0)
    )
    assert np.flatnonzero(~found.correct).tolist() == odd
    assert found.accuracy == 78 / 80
    assert ((found.likelihood > 0.5) == found.correct).all()
    assert found.likelihood[found.correct].min() > 0.8
    assert found.likelihood[odd].max() < 0.2


def test_the_seed_changes_the_folds_and_nothing_else_is_by_chance():
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 25)
    rows = random.integers(0, 256, (50, 12)).astype(np.uint8)
    groups = [str(n) for n in range(50)]

    def judged(**options: int) -> list[float]:
        return cross_validate(rows, labels, groups, classes=2, affine=Affine(0.02, 0), **options).likelihood.tolist()

    assert judged() == judged(seed=0, folds=5)
    assert judged() != judged(seed=1)
    assert judged() != judged(folds=2)


def test_a_head_learns_from_all_folds_but_one():
    """Of one label there are two images: the head that judges one has seen the other."""
    random = np.random.default_rng(0)
    labels = np.array([0] * 40 + [1] * 2)
    rows = random.integers(0, 20, (42, 16))
    rows[labels == 0, 0], rows[labels == 1, 1] = 200, 200
    found = cross_validate(
        rows.astype(np.uint8), labels, [str(n) for n in range(42)], classes=2, affine=Affine(0.05, 0)
    )
    assert found.correct.all()


def test_each_image_is_judged_by_a_head_of_forty_epochs_that_was_made_of_the_other_folds():
    random = np.random.default_rng(5)
    labels, groups, affine = np.repeat(np.arange(3), 16), [str(number) for number in range(48)], Affine(0.02, 0)
    means = random.integers(100, 140, (3, 12))
    features = np.clip(means[labels] + random.normal(0, 25, (48, 12)), 0, 255).astype(np.uint8)
    found = cross_validate(features, labels, groups, classes=3, affine=affine, seed=7)
    folds = assign_folds(labels, groups, seed=7)
    how = Hyperparameters(epochs=40, seed=7)
    for fold in range(FOLDS):
        own = folds == fold
        head = fit(features[~own], labels[~own], classes=3, affine=affine, hyperparameters=how)
        expected = softmax(head.logits(features[own], affine))
        np.testing.assert_allclose(found.likelihood[own], expected[np.arange(own.sum()), labels[own]], rtol=1e-6)
        assert np.array_equal(found.correct[own], expected.argmax(axis=1) == labels[own])
