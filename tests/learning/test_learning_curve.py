import math
from dataclasses import replace

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.learning.learning_curve import CurvePoint, _gain_per_100, learning_curve, stratified_rank
from edged.learning.softmax_regression import fit
from edged.vision.quantization import Affine
from tests.learning.test_softmax_regression import AFFINE, relu_bytes


def test_parts_are_nested_stratified_and_seeded() -> None:
    labels = np.repeat([0, 1, 2], [400, 40, 4])
    rank = stratified_rank(labels, 3)
    np.testing.assert_array_equal(rank, stratified_rank(labels, 3))
    assert (rank != stratified_rank(labels, 4)).any()
    for fraction in (0.25, 0.5, 0.75):
        np.testing.assert_array_equal(np.bincount(labels[rank < fraction]), np.array([400, 40, 4]) * fraction)
    assert rank.max() < 1


def test_more_images_are_better_and_the_next_hundred_bring_a_little() -> None:
    (train, labels), test = relu_bytes(400), relu_bytes(600, seed=1)
    how = Hyperparameters(epochs=15)
    full = fit(train, labels, classes=3, affine=AFFINE, hyperparameters=how)
    curve = learning_curve(train, labels, test, classes=3, full=full, affine=AFFINE, hyperparameters=how)
    assert [point.images for point in curve.points] == pytest.approx([100, 200, 300, 400], abs=3)
    assert curve.points[-1].accuracy >= curve.points[0].accuracy
    assert curve.gain_per_100 is not None
    assert 0 <= curve.gain_per_100 < 0.2


def test_each_point_is_a_head_of_its_part_as_the_whole_training_makes_it() -> None:
    affine, how = Affine(0.02, 100), Hyperparameters(lr=1.0, epochs=30, patience=2, batch=8, seed=5)
    (train, _), (validation, truth), (test, answers) = (relu_bytes(120, seed=seed) for seed in (2, 3, 4))
    labels = np.random.default_rng(6).permutation(np.arange(120) % 3)  # to be guessed: every difference shows
    parts = [stratified_rank(labels, 5) < fraction for fraction in (0.25, 0.5, 0.75, 1.0)]
    heads = [
        fit(train[part], labels[part], classes=3, affine=affine, validation=(validation, truth), hyperparameters=how)
        for part in parts
    ]
    curve = learning_curve(
        train, labels, (test, answers), classes=3, full=heads[-1], affine=affine, validation=(validation, truth),
        hyperparameters=how,
    )  # fmt: skip
    assert [point.images for point in curve.points] == [30, 60, 90, 120]
    right = [float((head.logits(test, affine).argmax(axis=1) == answers).mean()) for head in heads]
    assert [point.accuracy for point in curve.points] == right
    views = np.stack([test, np.zeros_like(test)], axis=1)
    again = learning_curve(
        train, labels, (views, answers), classes=3, full=heads[-1], affine=affine, validation=(validation, truth),
        hyperparameters=how,
    )  # fmt: skip
    assert again == curve, "the plain view judges"


def test_a_power_law_is_found_again() -> None:
    points = [CurvePoint(n, 1 - 2 * n**-0.5) for n in (100, 200, 300, 400)]
    assert _gain_per_100(points, 10_000) == pytest.approx(2 * 400**-0.5 - 2 * 500**-0.5)


def test_no_estimate_where_there_is_nothing_to_estimate_from() -> None:
    raw, _ = relu_bytes(4)
    labels = np.array([0, 1, 0, 1])
    full = fit(raw, labels, classes=2)
    empty = (raw[:0], labels[:0])
    assert learning_curve(raw, labels, empty, classes=2, full=full, affine=Affine(1.0, 0)).gain_per_100 is None


def test_few_test_images_promise_nothing() -> None:
    points = [CurvePoint(n, 1 - 2 * n**-0.5) for n in (100, 200, 300, 400)]
    assert _gain_per_100(points, 29) is None
    assert _gain_per_100(points, 30) is not None


def test_a_curve_that_falls_promises_nothing() -> None:
    assert _gain_per_100([CurvePoint(n, 0.9 - n / 10_000) for n in (100, 200, 400)], 100) == 0
    perfect = _gain_per_100([CurvePoint(n, 1.0) for n in (100, 200, 400)], 100)
    assert perfect == pytest.approx(0, abs=1e-12)
    some = [CurvePoint(100, 0.9), CurvePoint(200, 0.95)]
    assert _gain_per_100(some, 100) is None, "two points are no curve"
    no_error, half_an_error = CurvePoint(400, 1.0), CurvePoint(400, 0.995)
    assert _gain_per_100([*some, no_error], 100) == pytest.approx(_gain_per_100([*some, half_an_error], 10_000))


def test_a_class_has_a_curve_of_its_recall_where_enough_test_images_have_it() -> None:
    (train, labels), (test, answers) = relu_bytes(400), relu_bytes(200, seed=1)
    few = np.flatnonzero(answers == 2)[29:]  # 29 test images of the last class are left, one too few
    test, answers = np.delete(test, few, axis=0), np.delete(answers, few)
    how = Hyperparameters(epochs=15)
    full = fit(train, labels, classes=3, affine=AFFINE, hyperparameters=how)
    curve = learning_curve(train, labels, (test, answers), classes=3, full=full, affine=AFFINE, hyperparameters=how)
    predicted = full.logits(test, AFFINE).argmax(axis=1)
    each = [float(np.mean(predicted[answers == k] == k)) for k in range(3)]
    assert list(curve.points[-1].recalls) == each
    *known, unknown = curve.classes
    assert unknown is None
    for k, one in enumerate(known):
        assert one is not None
        assert one.recall == tuple(point.recalls[k] for point in curve.points)
        alike = [CurvePoint(point.images, recall) for point, recall in zip(curve.points, one.recall, strict=True)]
        assert one.gain_per_100 == _gain_per_100(alike, int(np.sum(answers == k)))
    # What an earlier report did not tell of a class is not known, and no curve is made up.
    earlier = tuple(replace(point, recalls=(0.5, None, None)) for point in curve.points)
    again = learning_curve(
        train, labels, (test, answers), classes=3, full=full, affine=AFFINE, hyperparameters=how, earlier=earlier
    )
    first, *others = again.classes
    assert first is not None
    assert (first.recall, others) == ((0.5, 0.5, 0.5, each[0]), [None, None])


def test_an_earlier_curve_of_nearly_as_many_images_is_gone_on_with() -> None:
    (train, labels), test = relu_bytes(404), relu_bytes(60, seed=1)
    how = Hyperparameters(epochs=2)
    full = fit(train, labels, classes=3, affine=AFFINE, hyperparameters=how)

    def points(images: int, earlier: tuple[CurvePoint, ...]) -> list[CurvePoint]:
        curve = learning_curve(
            train[:images], labels[:images], test, classes=3, full=full, affine=AFFINE, hyperparameters=how,
            earlier=earlier,
        )  # fmt: skip
        return list(curve.points)

    first = tuple(points(396, ()))
    odd = tuple(replace(point, accuracy=0.123) for point in first)
    again = points(400, odd)
    taken_over = [replace(point, taken_over=True) for point in odd[:-1]]
    assert again[:-1] == taken_over
    assert not again[-1].taken_over
    assert again[-1].images == 400
    assert again[-1].accuracy != 0.123
    assert points(401, tuple(again))[:-1] == taken_over
    assert points(396, odd[1:]) == list(first), "a point is missing"
    assert points(396, (replace(odd[0], accuracy=math.nan), *odd[1:])) == list(first)
    # The last point of a curve that was gone on with does not say of how many images the others are.
    few = tuple(points(380, ()))
    grown = (*(replace(point, accuracy=0.123) for point in few[:-1]), CurvePoint(395, 0.9))
    assert points(396, grown) == list(first)
