from __future__ import annotations

import math
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import TrainingError
from edged.learning import softmax_regression
from edged.learning.softmax_regression import EpochReport, _Descent, _Spanned, _Standardised, fit, learning_rates
from edged.learning.standardisation import Standardisation, largest_eigenvalue, smoothness
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

AFFINE = Affine(0.0235, 0)


def blobs(
    images: int, *, classes: int = 4, features: int = 64, apart: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Gaussian clouds whose features differ in scale by a factor of a thousand, far from zero."""
    centres = np.random.default_rng(99).standard_normal((classes, features)) * apart
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    points = centres[labels] + rng.standard_normal((images, features))
    return (points * np.geomspace(0.01, 10, features) + 5).astype(np.float32), labels


def relu_bytes(images: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """What bottlenecks look like: sparse, skewed, not negative, 8 bits."""
    centres = np.abs(np.random.default_rng(98).standard_normal((3, 80))) * 12
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    raw = np.maximum(centres[labels] + rng.standard_normal((images, 80)) * 25 - 5, 0)
    return np.minimum(raw, 255).astype(np.uint8), labels


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.intp]) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels))


@pytest.mark.parametrize("lr", [0.005, 0.1, 1.0, 10.0])
def test_every_learning_rate_gives_a_usable_head(lr: float) -> None:
    train, held_out, test = blobs(800, seed=1), blobs(200, seed=2), blobs(500, seed=3)
    head = fit(*train, classes=4, validation=held_out, hyperparameters=Hyperparameters(lr=lr))
    assert np.isfinite(head.weights).all()
    assert accuracy(head.logits(test[0]), test[1]) > 0.97
    assert head.history[0].loss < 1.6  # ln 4 = 1.39 is what ignorance costs


@pytest.mark.parametrize("lr", [0.005, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_bytes_train_as_the_numbers_they_stand_for(lr: float, dtype: type) -> None:
    affine = Affine(0.0235, 0 if dtype is np.uint8 else -128)
    (raw, labels), (more, truth) = relu_bytes(600), relu_bytes(300, seed=1)
    stored, held_out = ((q if dtype is np.uint8 else (q ^ 0x80).view(np.int8)) for q in (raw, more))
    from_bytes = fit(
        stored, labels, classes=3, affine=affine, validation=(held_out, truth), hyperparameters=Hyperparameters(lr=lr)
    )
    from_reals = fit(
        affine.dequantize(stored),
        labels,
        classes=3,
        validation=(affine.dequantize(held_out), truth),
        hyperparameters=Hyperparameters(lr=lr),
    )
    assert accuracy(from_bytes.logits(held_out, affine), truth) > 0.85
    np.testing.assert_allclose(
        from_bytes.logits(held_out, affine), from_reals.logits(affine.dequantize(held_out)), atol=0.05
    )


def test_the_weights_are_for_real_valued_bottlenecks() -> None:
    raw, labels = relu_bytes(300)
    head = fit(raw, labels, classes=3, affine=AFFINE)
    by_hand = AFFINE.dequantize(raw) @ head.weights.T + head.bias
    np.testing.assert_allclose(head.logits(raw, AFFINE), by_hand, atol=1e-3)
    assert head.weights.dtype == head.bias.dtype == np.float32
    assert accuracy(by_hand, labels) > 0.95


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    raw, labels = relu_bytes(300)
    first, second, other = (
        fit(raw, labels, classes=3, hyperparameters=Hyperparameters(seed=s, epochs=3)) for s in (7, 7, 8)
    )
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()
    assert first.history == second.history
    assert first.weights.tobytes() != other.weights.tobytes()


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best() -> None:
    train, held_out = blobs(60, apart=0.2, seed=1), blobs(200, apart=0.2, seed=2)
    head = fit(
        *train, classes=4, validation=held_out, hyperparameters=Hyperparameters(lr=1.0, l2=0.0, epochs=200, patience=6)
    )
    losses = [report.validation_loss for report in head.history]
    assert head.stopped == "patience"
    assert head.epochs_run == len(losses) < 200
    assert losses[head.best_epoch - 1] == min(loss for loss in losses if loss is not None)
    assert head.epochs_run == head.best_epoch + 6
    best = head.history[head.best_epoch - 1]
    assert accuracy(head.logits(held_out[0]), held_out[1]) == pytest.approx(best.validation_accuracy)
    assert head.history[-1].lr < head.history[0].lr


@pytest.mark.parametrize(
    ("patience", "rates"),
    [
        (1, [1.0, 1.0]),
        (2, [1.0, 1.0, 0.3]),
        (3, [1.0, 1.0, 0.3, 0.09]),
        (6, [1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3]),
    ],
)
def test_the_rate_is_cut_after_half_the_patience_and_training_ends_after_all_of_it(
    patience: int, rates: list[float]
) -> None:
    """The validation labels are the wrong ones, so that every epoch after the first makes it worse."""
    points, labels = blobs(60, classes=2)
    how = Hyperparameters(lr=1.0, batch=60, patience=patience)
    head = fit(points, labels, classes=2, validation=(points, 1 - labels), hyperparameters=how)
    assert (head.best_epoch, head.stopped) == (1, "patience")
    assert [report.lr for report in head.history] == pytest.approx(rates)


def weighted_loss(logits: NDArray[np.float32], labels: NDArray[np.intp], counts: NDArray[np.intp]) -> float:
    """Mean cross-entropy in which every class counts alike, by its images in training."""
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(np.average(-np.log(chances[np.arange(len(labels)), labels]), weights=1 / counts[labels]))


def test_what_an_epoch_reports_is_what_its_head_makes_of_the_images() -> None:
    """With all images in one batch: an epoch measures the weights that the one before has left."""
    points, labels = blobs(70, apart=0.3)
    labels[:30] = 0
    more, truth = blobs(50, apart=0.3, seed=1)
    counts = np.bincount(labels)
    how = Hyperparameters(lr=0.5, batch=70, epochs=3, patience=50)
    told = fit(points, labels, classes=4, validation=(more, truth), hyperparameters=how).history
    assert (told[0].loss, told[0].accuracy) == (pytest.approx(np.log(4)), np.mean(labels == 0))
    for epochs in (1, 2):
        head = fit(points, labels, classes=4, hyperparameters=how.model_copy(update={"epochs": epochs}))
        assert told[epochs].loss == pytest.approx(weighted_loss(head.logits(points), labels, counts), rel=1e-4)
        assert told[epochs].accuracy == accuracy(head.logits(points), labels)
        before = told[epochs - 1]
        assert before.validation_loss == pytest.approx(weighted_loss(head.logits(more), truth, counts), rel=1e-4)
        assert before.validation_accuracy == accuracy(head.logits(more), truth)


def test_the_first_step_is_the_gradient_in_units_of_the_loss_s_smoothness() -> None:
    points, labels = blobs(40, classes=2)
    scaling = Standardisation.of(points)
    how = Hyperparameters(lr=0.5, batch=40, l2=0.25)
    inputs = _Standardised(points, scaling)
    training = _Descent(inputs, labels, 2, how)
    training.epoch()
    counts = np.bincount(labels)
    pull = (np.eye(2)[labels] - 0.5) * (20 / counts[labels])[:, None]
    step = 0.5 / (smoothness(1.0, inputs.largest_eigenvalue, 40) + 0.25)
    expected = step * pull.T @ scaling.apply(points) / 40 * scaling.gain
    np.testing.assert_allclose(training.snapshot().weights, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("images", "features"), [(30, 90), (50, 20)])  # as sums of examples, and as they are
def test_training_is_gradient_descent_with_momentum_example_by_example(images: int, features: int) -> None:
    """Written once more, in double precision and without any shortcut."""
    points, labels = blobs(images, features=features)
    how = Hyperparameters(lr=0.3, batch=16, l2=0.01, momentum=0.8, seed=3)
    rates = learning_rates(how.lr, 6, (4,))
    head = fit(points, labels, classes=4, hyperparameters=how, rates=rates)

    scaling = Standardisation.of(points)
    inputs = scaling.apply(points).astype(np.float64)
    smooth = smoothness(1.0, largest_eigenvalue(inputs.astype(np.float32)), 16) + how.l2
    counts = np.bincount(labels)
    order, weights, bias = np.random.default_rng(3), np.zeros((4, features)), np.zeros(4)
    speed, bias_speed = np.zeros_like(weights), np.zeros(4)
    for rate, told in zip(rates, head.history, strict=True):
        losses, hits = 0.0, 0
        for batch in np.array_split(order.permutation(images), math.ceil(images / 16)):
            slope, bias_slope = how.l2 * weights, np.zeros(4)
            for number in batch:
                logits = weights @ inputs[number] + bias
                chances = np.exp(logits) / np.exp(logits).sum()
                counted = images / (4 * counts[labels[number]])
                losses -= counted * np.log(chances[labels[number]])
                hits += int(logits.argmax() == labels[number])
                error = (chances - np.eye(4)[labels[number]]) * counted / len(batch)
                slope, bias_slope = slope + np.outer(error, inputs[number]), bias_slope + error
            speed, bias_speed = (
                how.momentum * speed - rate / smooth * slope,
                how.momentum * bias_speed - rate * bias_slope,
            )
            weights, bias = weights + speed, bias + bias_speed
        assert (told.lr, told.loss) == (rate, pytest.approx(losses / images, rel=1e-4))
        assert told.accuracy == hits / images
    np.testing.assert_allclose(head.logits(points), inputs @ weights.T + bias, atol=2e-3)


def test_few_images_train_in_the_space_that_they_span_as_they_would_outside_of_it() -> None:
    points, labels = blobs(15, features=90)
    scaling = Standardisation.of(points)
    linear = []
    for kind in (_Spanned, _Standardised):
        training = _Descent(kind(points, scaling), labels, 4, Hyperparameters(lr=0.5, batch=4))
        for _ in range(20):
            training.epoch()
        linear.append(training.snapshot())
    np.testing.assert_allclose(linear[0].weights, linear[1].weights, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(linear[0].bias, linear[1].bias, rtol=1e-2, atol=1e-3)


def test_no_batch_is_greater_than_asked_for_and_each_example_is_seen_once() -> None:
    seen: list[int] = []

    class Watched(_Standardised):
        def take(self, picked: NDArray[np.intp]) -> NDArray[np.float32]:
            batches.append(len(picked))
            seen.extend(picked.tolist())
            return super().take(picked)

    points, labels = blobs(50)
    for batch, sizes in ((50, [50]), (200, [50]), (32, [25, 25]), (20, [17, 17, 16])):
        batches: list[int] = []
        seen.clear()
        _Descent(Watched(points, Standardisation.of(points)), labels, 4, Hyperparameters(batch=batch)).epoch()
        assert batches == sizes
        assert sorted(seen) == list(range(50))


def test_without_validation_the_last_epoch_counts() -> None:
    for validation in (None, (np.empty((0, 64), np.float32), np.empty(0, int))):
        head = fit(*blobs(50), classes=4, validation=validation, hyperparameters=Hyperparameters(epochs=5, patience=1))
        assert (head.best_epoch, head.epochs_run, head.stopped) == (5, 5, "epochs")
        assert head.history[-1].validation_loss is None


def test_progress_is_told_after_each_epoch() -> None:
    told: list[EpochReport] = []
    three = Hyperparameters(epochs=3)
    head = fit(*blobs(100), classes=4, validation=blobs(50, seed=5), progress=told.append, hyperparameters=three)
    assert [report.epoch for report in told] == [1, 2, 3]
    assert head.stopped == "epochs"
    assert head.history == tuple(told)
    assert all(0 <= report.accuracy <= 1 and report.loss >= 0 for report in told)


def test_balanced_weights_help_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.03).astype(int)
    points = (rng.standard_normal((2000, 8)) + labels[:, None] * 0.5).astype(np.float32)
    found = fit(points, labels, classes=2).logits(points)[labels == 1]
    assert accuracy(found, labels[labels == 1]) > 0.6  # without weights less than 0.4


def test_several_views_count_as_examples_of_one_image() -> None:
    raw, labels = relu_bytes(200)
    noisy = np.clip(raw.astype(int) + np.random.default_rng(1).integers(-9, 10, raw.shape), 0, 255).astype(np.uint8)
    both = np.stack([raw, noisy], axis=1)
    in_views = fit(both, labels, classes=3, affine=AFFINE, hyperparameters=Hyperparameters(epochs=4))
    in_rows = fit(
        both.reshape(-1, 80), labels.repeat(2), classes=3, affine=AFFINE, hyperparameters=Hyperparameters(epochs=4)
    )
    assert in_views.weights.tobytes() == in_rows.weights.tobytes()


def test_a_class_without_examples_is_never_predicted() -> None:
    raw, labels = relu_bytes(300)
    head = fit(raw, labels, classes=5, affine=AFFINE, validation=relu_bytes(60, seed=4))
    assert head.weights.shape == (5, 80)
    assert head.logits(raw, AFFINE).argmax(axis=1).max() <= 2


@pytest.mark.parametrize("images", [2, 3, 5])
def test_a_handful_of_images_is_enough(images: int) -> None:
    raw, _ = relu_bytes(images)
    labels = np.arange(images) % 2
    head = fit(raw, labels, classes=2, affine=AFFINE, validation=(raw[:1], labels[:1]))
    assert accuracy(head.logits(raw, AFFINE), labels) == 1


def test_a_feature_that_never_changes_and_one_that_hardly_ever_does_do_no_harm() -> None:
    points, labels = blobs(400)
    points[:, 0] = 7
    points[:, 1] = 0
    points[3, 1] = 1e-3
    head = fit(points, labels, classes=4)
    assert np.isfinite(head.weights).all()
    assert accuracy(head.logits(points), labels) > 0.97


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(0, int), "no labeled images"),
        (np.zeros(6, int), "at least two classes"),
        (np.array([0, 1, 2, 3, 0, 1]), "labels lie in 0..3; 3 classes allow 0..2"),
        (np.array([0, 1, -1, 1, 0, 1]), "labels lie in -1..1"),
        (np.zeros(5, int), "do not fit"),
    ],
)
def test_wrong_labels_are_one_line(labels: NDArray[np.intp], said: str) -> None:
    features = np.zeros((0 if len(labels) == 0 else 6, 10), np.float32)
    with pytest.raises(TrainingError, match=said):
        fit(features, labels, classes=3)


def test_features_that_cannot_be_used_are_one_line() -> None:
    labels = np.array([0, 1, 0, 1])
    with pytest.raises(TrainingError, match="all bottlenecks are the same"):
        fit(np.full((4, 10), 9, np.uint8), labels, classes=2)
    with pytest.raises(TrainingError, match="not finite"):
        fit(np.full((4, 10), np.nan, np.float32), labels, classes=2)
    with pytest.raises(TrainingError, match="not finite"):
        fit(np.where(np.eye(4, 10), np.inf, 0).astype(np.float32), labels, classes=2)
    with pytest.raises(TrainingError, match="validation has 9 features, training 10"):
        fit(np.eye(4, 10, dtype=np.float32), labels, classes=2, validation=(np.zeros((1, 9), np.float32), labels[:1]))


def test_the_smoothness_lies_between_one_examples_and_the_whole_sets() -> None:
    assert smoothness(1.0, 0.1, 1) == pytest.approx(0.5)
    assert smoothness(1.0, 0.1, 10**9) == pytest.approx(0.05)
    assert 0.05 < smoothness(1.0, 0.1, 64) < 0.5


def test_examples_that_are_standardised_once_or_again_and_again_give_the_same_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples, held_out = relu_bytes(2000), relu_bytes(200, seed=1)
    once = fit(*examples, classes=3, affine=AFFINE, validation=held_out)
    monkeypatch.setattr(softmax_regression, "_READY_BYTES", 0)
    again = fit(*examples, classes=3, affine=AFFINE, validation=held_out)
    assert np.array_equal(once.weights, again.weights)
    assert np.array_equal(once.bias, again.bias)
    assert once.history == again.history


def test_memory_of_many_examples_stays_far_below_a_float_copy_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax_regression, "_READY_BYTES", 6_000_000)
    raw = np.random.default_rng(0).integers(0, 256, (6000, 512)).astype(np.uint8)
    labels = np.arange(6000) % 3
    tracemalloc.start()
    try:
        fit(
            raw,
            labels,
            classes=3,
            affine=AFFINE,
            validation=(raw[:600], labels[:600]),
            hyperparameters=Hyperparameters(epochs=1),
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < raw.nbytes * 4


def test_a_head_is_divided_by_a_temperature_weights_and_bias() -> None:
    features, labels = blobs(100)
    head = fit(features, labels, classes=4)
    warm = head.divided(4.0)
    np.testing.assert_allclose(warm.logits(features), head.logits(features) / 4, rtol=1e-4, atol=1e-4)
    assert np.abs(head.bias).max() > 0.1, "the bias must count in the example"
    assert (warm.history, warm.best_epoch) == (head.history, head.best_epoch)
    assert (warm.weights.dtype, warm.bias.dtype) == (np.float32, np.float32)
