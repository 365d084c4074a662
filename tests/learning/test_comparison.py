"""Every labeled image as a test image: heads that were not made of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.images.image import split_of
from edged.learning import comparison
from edged.learning.comparison import (
    FOLDS,
    Divisions,
    LeftOut,
    Predictions,
    Taught,
    made_of,
    places,
    predict_left_out,
    share_right,
)
from edged.learning.recipe import Recipe
from edged.vision.quantization import Affine

AFFINE = Affine(0.1, 0)


def ids(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def clouds(count: int, apart: float, classes: int = 3, seed: int = 0) -> Taught:
    """Gaussian clouds of uint8 bottlenecks, one a class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = random.normal(0, apart, (classes, 24))
    features = np.clip(128 + 10 * (centres[labels] + random.normal(0, 1, (count, 24))), 0, 255).astype(np.uint8)
    return Taught(features, labels, classes, AFFINE, Recipe(Hyperparameters(batch=16), 20))


def test_the_first_fold_is_the_test_side_of_a_training() -> None:
    groups = ids(500)
    test = np.array([split_of(group) == "test" for group in groups])
    np.testing.assert_array_equal(comparison._in_fold(places(groups, 0), 0), test)
    before = places(groups, 0)
    np.testing.assert_array_equal(comparison._in_fold(before, 1), (before >= 0.6) & (before < 0.8))


def test_every_image_is_in_one_fold_of_each_division_with_its_near_duplicates() -> None:
    groups = [group for group in ids(200) for _ in range(3)]
    for division in range(3):
        place = places(groups, division)
        folds = np.stack([comparison._in_fold(place, fold) for fold in range(FOLDS)])
        assert (folds.sum(axis=0) == 1).all()
        assert (folds.reshape(FOLDS, 200, 3).all(axis=2) == folds.reshape(FOLDS, 200, 3).any(axis=2)).all()
        assert (np.abs(folds.mean(axis=1) - 0.2) < 0.08).all()
    assert (places(groups, 0) != places(groups, 1)).all()


def test_an_image_is_judged_by_a_head_that_was_not_made_of_it() -> None:
    """Labels drawn at random cannot be guessed: whoever has seen an image knows its label, nobody else does."""
    random = np.random.default_rng(1)
    features = random.integers(0, 256, (240, 400)).astype(np.uint8)
    taught = Taught(features, random.integers(0, 2, 240), 2, AFFINE, Recipe(Hyperparameters(batch=16), 60))
    head = taught.recipe.fit(features, taught.labels, classes=2, affine=AFFINE)
    assert (head.logits(features, AFFINE).argmax(axis=1) == taught.labels).mean() > 0.95
    right = share_right(predict_left_out(taught, ids(240), Divisions(2, FOLDS)).free, taught.labels)
    assert not np.isnan(right).any()
    assert right.mean() == pytest.approx(0.5, abs=0.1)
    # Unless a copy of it is in another fold: that is why near duplicates have one group.
    twice = Taught(np.repeat(features[:120], 2, axis=0), np.repeat(taught.labels[:120], 2), 2, AFFINE, taught.recipe)
    leaky = share_right(predict_left_out(twice, ids(240), Divisions(1, FOLDS)).free, twice.labels).mean()
    grouped = [group for group in ids(120) for _ in range(2)]
    honest = share_right(predict_left_out(twice, grouped, Divisions(1, FOLDS)).free, twice.labels).mean()
    assert leaky > 0.75
    assert honest < 0.65


def test_better_features_are_right_more_often() -> None:
    groups = ids(150)
    near, far = (
        share_right(predict_left_out(one, groups, Divisions(1, FOLDS)).free, one.labels).mean()
        for one in (clouds(150, 0.2), clouds(150, 1.5))
    )
    assert far > 0.95
    assert near < far - 0.2


def test_the_bound_answer_is_one_of_those_that_are_asked_for() -> None:
    taught = clouds(90, 1.0)
    answers = predict_left_out(taught, ids(90), Divisions(1, FOLDS), among=(0, 2))
    assert set(np.unique(answers.free)) == {0, 1, 2}
    assert set(np.unique(answers.bound)) == {0, 2}
    chosen = answers.free != 1
    np.testing.assert_array_equal(answers.bound[chosen], answers.free[chosen])
    picked = answers.at([3, 1])
    np.testing.assert_array_equal(picked.free[0], answers.free[0, [3, 1]])
    nothing = Predictions.of(np.zeros((1, 2, 3), np.float32), ())
    assert (nothing.bound == -1).all()


def test_the_logits_of_a_head_that_was_not_made_of_an_image_are_there() -> None:
    taught, groups = clouds(90, 1.0), ids(90)
    answers = predict_left_out(taught, groups, Divisions(2, 3))
    assert answers.logits is not None
    assert answers.logits.shape == (2, 90, 3)
    assert answers.logits.dtype == np.float32
    judged = answers.free >= 0
    assert 0.4 < judged.mean() < 0.8, "three of five folds"
    np.testing.assert_array_equal(np.isnan(answers.logits).any(axis=2), ~judged)
    np.testing.assert_array_equal(answers.logits[judged].argmax(axis=1), answers.free[judged])
    for division in range(2):
        left_out = comparison._in_fold(places(groups, division), 1)
        head = taught.recipe.fit(taught.features[~left_out], taught.labels[~left_out], classes=3, affine=AFFINE)
        np.testing.assert_array_equal(
            answers.logits[division, left_out], head.logits(taught.features[left_out], AFFINE)
        )
    picked = answers.at([7, 2])
    assert picked.logits is not None
    np.testing.assert_array_equal(picked.logits, answers.logits[:, [7, 2]])
    assert Predictions.of(np.zeros((1, 2, 3), np.float32), ()).logits is None


def test_what_no_head_could_judge_counts_neither_way() -> None:
    predicted = np.array([[0, 1, -1], [0, 0, -1]])
    np.testing.assert_array_equal(share_right(predicted, np.array([0, 0, 0])), [1.0, 0.5, np.nan])
    one_label = Taught(np.zeros((10, 4), np.uint8), np.zeros(10, np.intp), 2, AFFINE, Recipe(Hyperparameters(), 3))
    assert (predict_left_out(one_label, ids(10), Divisions(1, FOLDS)).free == -1).all()
    same_image = Taught(np.zeros((10, 4), np.uint8), np.arange(10) % 2, 2, AFFINE, Recipe(Hyperparameters(), 3))
    answers = predict_left_out(same_image, ids(10), Divisions(1, FOLDS))
    assert (answers.free == -1).all()
    assert answers.logits is not None
    assert np.isnan(answers.logits).all()


def test_folds_that_nobody_can_judge_leave_the_others_alone() -> None:
    taught = clouds(60, 1.5, classes=2)
    away = [group for group in ids(200) if not comparison._in_fold(places([group], 0), 0)[0]][:60]
    right = share_right(predict_left_out(taught, away, Divisions(1, FOLDS)).free, taught.labels)
    assert right.mean() > 0.9, "no image lies in the first fold"
    groups = ids(60)
    first = comparison._in_fold(places(groups, 0), 0)
    alike = replace(taught, features=np.where(first[:, np.newaxis], taught.features, 128).astype(np.uint8))
    free = predict_left_out(alike, groups, Divisions(1, FOLDS)).free[0]
    np.testing.assert_array_equal(free < 0, first)  # without the first fold all images are the same


def test_several_views_of_an_image_teach_and_the_plain_one_is_judged() -> None:
    taught = clouds(120, 1.0)
    views = np.stack([taught.features, np.full_like(taught.features, 128)], axis=1)  # grey: tells nothing
    both = Taught(views, taught.labels, 3, AFFINE, taught.recipe)
    right = share_right(predict_left_out(both, ids(120), Divisions(1, FOLDS)).free, taught.labels)
    assert right.mean() > 0.8


@pytest.mark.parametrize(
    ("images", "views", "divisions", "folds"),
    [
        (0, 1, 4, 5),
        (10, 1, 4, 5),
        (125, 1, 4, 5),
        (250, 1, 2, 5),
        (500, 1, 1, 5),
        (1000, 1, 1, 5),
        (1000, 4, 1, 2),
        (3670, 1, 1, 2),
        (50_000, 1, 1, 1),
    ],
)
def test_more_images_need_fewer_folds(images: int, views: int, divisions: int, folds: int) -> None:
    assert Divisions.for_images(images, views) == Divisions(divisions, folds)
    if views == 1:
        assert Divisions.for_images(images) == Divisions(divisions, folds)


def test_what_was_kept_is_what_would_be_found_again() -> None:
    taught, groups = clouds(90, 0.5), ids(90)
    found = predict_left_out(taught, groups, Divisions(3, FOLDS)).free
    kept = LeftOut.decode(LeftOut(made_of(taught, groups), FOLDS, found).encode())
    assert kept is not None
    assert (kept.made_of, kept.folds, kept.answers.dtype) == (made_of(taught, groups), FOLDS, np.int16)
    np.testing.assert_array_equal(kept.answers, found)
    for divisions in (Divisions(3, FOLDS), Divisions(2, FOLDS), Divisions(1, 2)):
        answers = kept.of_folds(groups, divisions)
        assert answers is not None
        np.testing.assert_array_equal(answers, predict_left_out(taught, groups, divisions).free)
    np.testing.assert_array_equal(kept.answers, found)
    assert kept.of_folds(groups, Divisions(4, FOLDS)) is None
    assert kept.of_folds(groups[1:], Divisions(1, FOLDS)) is None
    assert replace(kept, folds=2).of_folds(groups, Divisions(1, 3)) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"v": 2, "made_of": "", "folds": 5, "answers": [[0]]}', b'{"v": 1, "folds": 5}',
     b'{"v": 1, "made_of": "", "folds": 5, "answers": [[0, 1], [0]]}',
     b'{"v": 1, "made_of": "", "folds": 5, "answers": [[70000]]}'],
)  # fmt: skip
def test_a_damaged_file_is_nothing_kept(content: bytes) -> None:
    assert LeftOut.decode(content) is None


def test_whatever_answers_come_from_has_its_part_in_the_hash() -> None:
    taught, groups = clouds(30, 0.5), ids(30)
    other, recipe = clouds(30, 0.5, seed=1), taught.recipe
    variants = [
        (taught, groups),
        (taught, groups[::-1]),
        (replace(taught, features=other.features), groups),
        (replace(taught, features=taught.features.reshape(30, 2, 12)), groups),
        (replace(taught, labels=taught.labels[::-1]), groups),
        (replace(taught, classes=4), groups),
        (replace(taught, affine=Affine(0.1, 1)), groups),
        (replace(taught, recipe=replace(recipe, epochs=21)), groups),
        (replace(taught, recipe=replace(recipe, cuts=(5,))), groups),
        (replace(taught, recipe=replace(recipe, hyperparameters=Hyperparameters(batch=16, seed=1))), groups),
    ]
    assert len({made_of(*one) for one in variants}) == len(variants)
    assert made_of(clouds(30, 0.5), ids(30)) == made_of(taught, groups)
