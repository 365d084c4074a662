import numpy as np

from edged.lab.sources.cross_validation import assign_folds, cross_validate
from edged.vision.quantization import Affine


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
