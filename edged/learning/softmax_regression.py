"""Multinomial logistic regression on bottlenecks by mini-batch SGD: pure numpy, seeded, small in memory.

Features are standardised and scaled so that the mean squared norm of an example is 1, and the learning rate counts in
units of the loss's own smoothness, so that one `lr` means the same for every network: 0.005 is slow, 1 is fast, and
neither diverges. The standardisation is folded into the weights that come back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import TrainingError
from edged.learning.standardisation import ROWS, Standardisation, enough_of, largest_eigenvalue, smoothness
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]
    Labels = NDArray[np.integer[Any]]
    Vector = NDArray[np.float32]

_REAL = Affine(1.0, 0)
_DECAY = 0.3
"""Factor on the learning rate when the validation loss has not fallen for half of `patience` epochs."""
_READY_BYTES = 32 * 2**20
"""Standardised examples may take so much memory, bytes: 6,500 of MobileNetV2. Of more, the features stay bytes. Those
that choose the epoch may take a quarter of it."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One pass over the training examples.

    Attributes:
        epoch: From 1.
        lr: The learning rate during this epoch.
        loss: Mean weighted cross-entropy over the epoch's batches, each before its step.
        accuracy: Over the same batches, 0..1.
        validation_loss: Mean weighted cross-entropy of the validation examples after the epoch; None without any.
        validation_accuracy: Accuracy on the validation examples after the epoch, 0..1; None without any.
    """

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True, slots=True)
class Head:
    """A last layer, for real-valued bottlenecks.

    Attributes:
        weights: (classes, features) float32.
        bias: (classes,) float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def is_finite(self) -> bool:
        """Whether its training has not diverged."""
        return bool(np.isfinite(self.weights).all() and np.isfinite(self.bias).all())

    def logits(self, features: Features, affine: Affine = _REAL) -> Vector:
        """Return (n, classes) float32 for (n, features) bottlenecks; `affine` says what their bytes mean."""
        logits = np.empty((len(features), len(self.bias)), np.float32)
        for begin in range(0, len(features), ROWS):
            logits[begin : begin + ROWS] = affine.dequantize(features[begin : begin + ROWS]) @ self.weights.T
        return logits + self.bias


@dataclass(frozen=True, slots=True)
class Fitted(Head):
    """A trained head.

    Attributes:
        history: One report per epoch run.
        best_epoch: The epoch whose weights these are, from 1.
        stopped: Why training ended: "patience" or "epochs".
    """

    history: tuple[EpochReport, ...]
    best_epoch: int
    stopped: Literal["patience", "epochs"]

    @property
    def cuts(self) -> tuple[int, ...]:
        """Epochs, from 1, after which the learning rate was cut on the way to these weights."""
        rates = [epoch.lr for epoch in self.history[: self.best_epoch]]
        return tuple(number for number, (now, then) in enumerate(pairwise(rates), 1) if then < now)

    @property
    def epochs_run(self) -> int:
        """Number of epochs run."""
        return len(self.history)

    def divided(self, temperature: float) -> Fitted:
        """Return the head whose logits are these divided by a temperature > 0; it prefers the same labels."""
        divisor = np.float32(temperature)
        return replace(self, weights=self.weights / divisor, bias=self.bias / divisor)


def fit(
    features: Features,
    labels: Labels,
    *,
    classes: int,
    affine: Affine = _REAL,
    validation: tuple[Features, Labels] | None = None,
    hyperparameters: Hyperparameters | None = None,
    rates: Sequence[float] | None = None,
    progress: Callable[[EpochReport], None] | None = None,
) -> Fitted:
    """Train a softmax regression.

    Args:
        features: (n, d), or (n, views, d) with several views of each image: float32, or the bytes of the bottleneck.
        labels: (n,) integers 0..classes − 1.
        classes: Number of classes, at least 2; a class without examples is never predicted.
        affine: Scale and zero point of the bytes; not needed for float32.
        validation: Features (m, d) or (m, views, d) and labels (m,) that choose the epoch. None or empty: the last
            epoch's weights are taken.
        hyperparameters: How to train; None: the defaults.
        rates: Learning rate of each epoch, in place of `lr`, `epochs` and `patience`; see `learning_rates`. All of
            them run, and the last one's weights are taken.
        progress: Called after each epoch.

    Returns:
        The weights of the epoch with the lowest validation loss. The same arguments give the same bytes on the same
        machine.

    Raises:
        TrainingError: Shapes do not fit each other, a label is out of range, a feature is not finite, fewer than two
            classes have examples, or the training diverges.
    """
    hyperparameters = hyperparameters or Hyperparameters()
    rows, targets = as_rows(features, labels, classes)
    judging = None
    if validation is not None and len(validation[1]):
        judging = as_rows(*validation, classes)
        if judging[0].shape[1] != rows.shape[1]:
            raise TrainingError(f"validation has {judging[0].shape[1]} features, training {rows.shape[1]}")
    if len(np.unique(targets)) < 2:
        raise TrainingError("training needs labeled images of at least two classes")
    inputs = _inputs(rows, Standardisation.of(rows))
    training = _Descent(inputs, targets, classes, hyperparameters)
    held_out = None if judging is None else _HeldOut(*judging, inputs)
    history: list[EpochReport] = []
    best, best_epoch, best_loss, stale = training.state(), 0, math.inf, 0
    stopped: Literal["patience", "epochs"] = "epochs"
    for epoch in range(1, 1 + (hyperparameters.epochs if rates is None else len(rates))):
        if rates is not None:
            training.lr = rates[epoch - 1]
        lr = training.lr
        loss, accuracy = training.epoch()
        report = EpochReport(epoch, lr, loss, accuracy, None, None)
        if held_out is None:
            best_epoch = epoch
        else:
            held_out_loss, held_out_accuracy = training.measure(held_out)
            report = EpochReport(epoch, lr, loss, accuracy, held_out_loss, held_out_accuracy)
            stale += 1
            if rates is not None or held_out_loss < best_loss:
                best, best_epoch, best_loss, stale = training.state(), epoch, held_out_loss, 0
            elif stale % max(1, hyperparameters.patience // 2) == 0:
                training.lr *= _DECAY
        history.append(report)
        if progress is not None:
            progress(report)
        if stale >= hyperparameters.patience:
            stopped = "patience"
            break
    linear = training.snapshot() if held_out is None else training.stored(best)
    head = for_real(linear.weights, linear.bias, affine)
    if best_epoch == 0 or not head.is_finite:
        raise TrainingError("the training diverged; a smaller learning rate or less decay (l2) helps")
    return Fitted(head.weights, head.bias, tuple(history), best_epoch, stopped)


def learning_rates(lr: float, epochs: int, cuts: Collection[int]) -> tuple[float, ...]:
    """Return the learning rate of each epoch of a training that went on for `epochs` and cut it after some of them.

    Args:
        lr: The first learning rate.
        epochs: Number of epochs.
        cuts: Epochs, from 1, after which it was cut; see `Fitted.cuts`.
    """
    rates = []
    for epoch in range(1, epochs + 1):
        rates.append(lr)
        if epoch in cuts:
            lr *= _DECAY
    return tuple(rates)


def as_rows(features: Features, labels: Labels, classes: int) -> tuple[Features, NDArray[np.intp]]:
    """Return (n · views, d) features and one label for each, checked; no copy of the features."""
    if features.ndim not in (2, 3) or labels.shape != features.shape[:1]:
        raise TrainingError(f"features of shape {features.shape} and labels of shape {labels.shape} do not fit")
    if len(labels) == 0:
        raise TrainingError("there are no labeled images")
    if labels.min() < 0 or labels.max() >= classes:
        raise TrainingError(f"labels lie in {labels.min()}..{labels.max()}; {classes} classes allow 0..{classes - 1}")
    if features.dtype.kind == "f" and not np.isfinite(features).all():
        raise TrainingError("features are not finite")
    views = features.shape[1] if features.ndim == 3 else 1
    return features.reshape(-1, features.shape[-1]), np.repeat(labels.astype(np.intp), views)


def for_real(weights: Vector, bias: Vector, affine: Affine) -> Head:
    """Return a head on features as they are stored as one on the real numbers that they stand for.

    w·q + b = (w / scale)·real + (b + zero_point · Σ w), for real = scale · (q − zero_point).
    """
    exact = weights.astype(np.float64)
    return Head(
        (exact / affine.scale).astype(np.float32), (bias + affine.zero_point * exact.sum(axis=1)).astype(np.float32)
    )


def class_weights_of(targets: NDArray[np.intp], classes: int) -> Vector:
    """Return the weight (classes,) of an example of each class: all classes that there are weigh the same in all."""
    counts = np.bincount(targets, minlength=classes)
    present = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[present] = len(targets) / (np.count_nonzero(present) * counts[present])
    return weights


class _Inputs(Protocol):
    """Training examples as the descent sees them: with mean 0 and a mean squared norm of 1.

    The descent holds its weights in coordinates of the inputs' choice, in which logits are what `take` returns times
    the weights.
    """

    largest_eigenvalue: float

    @property
    def shape(self) -> tuple[int, int]:
        """Number of examples, and of the weights' coordinates."""

    def take(self, picked: NDArray[np.intp]) -> Vector:
        """Return some of the examples, (picked, coordinates), each of them once; the next call may overwrite them."""

    def slope(self, errors: Vector) -> Vector:
        """Return Σ error · example over the examples that were taken last, (classes, coordinates).

        Args:
            errors: (classes, examples).
        """

    def like(self, rows: Features) -> Vector:
        """Return other examples, features (n, d) as they are stored, in the coordinates of `take`."""

    def for_stored(self, weights: Vector, bias: Vector) -> Head:
        """Return weights and bias on these inputs as such on features as they are stored."""


class _Table:
    """Hands out rows of an array, in the same memory again: so much would come from the kernel for each batch anew."""

    def __init__(self, rows: Vector) -> None:
        self._rows = rows
        self._taken = np.empty((0, rows.shape[1]), np.float32)

    def take(self, picked: NDArray[np.intp]) -> Vector:
        if len(self._taken) < len(picked):
            self._taken = np.empty((len(picked), self._rows.shape[1]), np.float32)
        # All of them are there: the mode matters for the time alone, as the usual one makes a copy first.
        return np.take(self._rows, picked, axis=0, out=self._taken[: len(picked)], mode="clip")


class _Standardised:
    """Examples as they are. They are standardised once, where there is room, or each time that they are taken."""

    def __init__(self, rows: Features, scaling: Standardisation) -> None:
        self._rows, self._scaling = rows, scaling
        self._ready: _Table | None = None
        enough = enough_of(len(rows))
        if 4 * rows.size <= _READY_BYTES:
            ready = np.empty(rows.shape, np.float32)
            for begin in range(0, len(rows), ROWS):  # no second copy of them all
                ready[begin : begin + ROWS] = scaling.apply(rows[begin : begin + ROWS])
            self._ready = _Table(ready)
            self.largest_eigenvalue = largest_eigenvalue(ready[enough])
        else:
            self.largest_eigenvalue = largest_eigenvalue(scaling.apply(rows[enough]))
        self.shape = len(rows), rows.shape[1]
        self._taken = np.empty((0, rows.shape[1]), np.float32)

    def take(self, picked: NDArray[np.intp]) -> Vector:
        self._taken = self._ready.take(picked) if self._ready else self._scaling.apply(self._rows[picked])
        return self._taken

    def slope(self, errors: Vector) -> Vector:
        slope: Vector = errors @ self._taken
        return slope

    def like(self, rows: Features) -> Vector:
        return self._scaling.apply(rows)

    def for_stored(self, weights: Vector, bias: Vector) -> Head:
        stored: Vector = weights * self._scaling.gain
        return Head(stored, bias - stored @ self._scaling.mean)


class _Spanned:
    """Few examples, and weights that are sums of them: one number for each example instead of each feature.

    The weights begin at 0, every step adds a sum of examples, and the decay only shrinks what is there: so they are
    always such a sum. What a step needs of the examples are their products with each other.
    """

    def __init__(self, rows: Features, scaling: Standardisation) -> None:
        self._examples, self._scaling = scaling.apply(rows), scaling
        self._products = _Table(self._examples @ self._examples.T)
        self.largest_eigenvalue = largest_eigenvalue(self._examples[enough_of(len(rows))])
        self.shape = len(rows), len(rows)
        self._picked = np.empty(0, np.intp)

    def take(self, picked: NDArray[np.intp]) -> Vector:
        self._picked = picked
        return self._products.take(picked)

    def slope(self, errors: Vector) -> Vector:
        slope = np.zeros((len(errors), len(self._examples)), np.float32)
        slope[:, self._picked] = errors
        return slope

    def like(self, rows: Features) -> Vector:
        products: Vector = self._scaling.apply(rows) @ self._examples.T
        return products

    def for_stored(self, weights: Vector, bias: Vector) -> Head:
        stored: Vector = (weights @ self._examples) * self._scaling.gain
        return Head(stored, bias - stored @ self._scaling.mean)


def _inputs(rows: Features, scaling: Standardisation) -> _Inputs:
    """Return the examples in the form in which training is cheaper; products pay for half as many as features."""
    return (_Spanned if spans(*rows.shape) else _Standardised)(rows, scaling)


def spans(examples: int, features: int) -> bool:
    """Whether so many examples are best trained as sums of examples."""
    return 2 * examples <= features


class _HeldOut:
    """Examples that choose the epoch."""

    def __init__(self, rows: Features, targets: NDArray[np.intp], inputs: _Inputs) -> None:
        self._rows, self._inputs = rows, inputs
        self.targets = targets
        # Once, where there is room, and not after every epoch.
        self._ready = inputs.like(rows) if 4 * len(rows) * inputs.shape[1] <= _READY_BYTES // 4 else None

    def parts(self) -> Iterator[Vector]:
        """Yield all of them, a part at a time."""
        if self._ready is not None:
            yield self._ready
            return
        for begin in range(0, len(self._rows), ROWS):
            yield self._inputs.like(self._rows[begin : begin + ROWS])


class _Descent:
    """The state of mini-batch SGD with momentum (Polyak's heavy ball)."""

    def __init__(self, inputs: _Inputs, targets: NDArray[np.intp], classes: int, how: Hyperparameters) -> None:
        self._inputs, self._targets = inputs, targets
        examples, coordinates = inputs.shape
        self._momentum, self._l2 = np.float32(how.momentum), np.float32(how.l2)
        self._batch = min(how.batch, examples)
        self._order = np.random.default_rng(how.seed)
        self._weights = np.zeros((classes, coordinates), np.float32)
        self._bias = np.zeros((classes, 1), np.float32)
        self._speed = np.zeros_like(self._weights), np.zeros_like(self._bias)
        self._decay = np.empty_like(self._weights)
        # The bias is a feature that is always 1: the smoothness of the pair is at most the sum.
        self._smoothness = smoothness(1.0, inputs.largest_eigenvalue, self._batch) + how.l2
        self.class_weights = class_weights_of(targets, classes)
        self.lr = how.lr

    def epoch(self) -> tuple[float, float]:
        """Pass over all examples once; return mean loss and accuracy, each batch measured before its step."""
        order = self._order.permutation(len(self._targets))
        targets = self._targets[order]
        weights = self.class_weights[targets]
        right = (targets == np.arange(len(self._bias))[:, np.newaxis]).astype(np.float32)
        logits, sums = [], []
        steps = math.ceil(len(order) / self._batch)
        sizes = [len(order) // steps + (step < len(order) % steps) for step in range(steps)]
        for begin, end in pairwise(accumulate(sizes, initial=0)):
            measured = self._step(order[begin:end], right[:, begin:end], weights[begin:end])
            logits.append(measured[0])
            sums.append(measured[1])
        before = np.concatenate(logits, axis=1)
        losses = np.log(np.concatenate(sums)) - before[targets, np.arange(len(targets))]
        return float(weights @ losses) / len(order), _share(before, targets)

    def _step(self, picked: NDArray[np.intp], right: Vector, weights: Vector) -> tuple[Vector, Vector]:
        """Take a step by some of the examples; return what `_softmax` leaves of their logits before it, and its sums.

        Arrays have a row for each class, not for each example: few long rows are added up quicker than many short ones.

        Args:
            picked: Which examples.
            right: (classes, picked) the probabilities that their targets stand for, 0 or 1.
            weights: (picked,) how much each of them counts.
        """
        inputs = self._inputs.take(picked)
        logits: Vector = self._weights @ inputs.T
        logits += self._bias
        errors, sums = _softmax(logits)
        errors -= right
        errors *= weights * np.float32(self.lr / self._smoothness / len(picked))
        speed, bias_speed = self._speed
        speed *= self._momentum
        speed -= self._inputs.slope(errors)
        speed -= np.multiply(self._weights, np.float32(self.lr / self._smoothness * self._l2), out=self._decay)
        bias_speed *= self._momentum
        bias_speed -= np.float32(self._smoothness) * errors.sum(axis=1, keepdims=True)  # its own is at most ½ · 1²
        self._weights += speed
        self._bias += bias_speed
        return logits, sums

    def measure(self, held_out: _HeldOut) -> tuple[float, float]:
        """Return mean weighted loss and accuracy on other examples."""
        logits = np.concatenate([self._weights @ part.T for part in held_out.parts()], axis=1)
        logits += self._bias
        targets = held_out.targets
        weights = np.maximum(self.class_weights[targets], np.float32(1e-6))
        _, sums = _softmax(logits)
        losses = np.log(sums) - logits[targets, np.arange(len(targets))]
        return float(weights @ losses) / float(weights.sum()), _share(logits, targets)

    def state(self) -> tuple[Vector, Vector]:
        """Return a copy of the weights and the bias on the inputs, see `stored`."""
        return self._weights.copy(), self._bias.copy()

    def stored(self, state: tuple[Vector, Vector]) -> Head:
        """Return weights and bias on the inputs as such on features as they are stored."""
        weights, bias = state
        return self._inputs.for_stored(weights, bias[:, 0])

    def snapshot(self) -> Head:
        """Return the weights of now for features as they are stored."""
        return self.stored(self.state())


def _softmax(logits: Vector) -> tuple[Vector, Vector]:
    """Return the probabilities of logits (classes, n), and Σ exp(logit) (n,) of the logits that it leaves.

    It shifts them so that the greatest is 0 and no power can overflow: −log p = log Σ exp(logit) − logit.
    """
    logits -= logits.max(axis=0)
    powers = np.exp(logits)
    sums: Vector = powers.sum(axis=0)
    powers /= sums
    return powers, sums


def _share(logits: Vector, targets: NDArray[np.intp]) -> float:
    """Return the share 0..1 of the examples whose greatest logit (classes, n) is their target's."""
    return int(np.count_nonzero(logits.argmax(axis=0) == targets)) / len(targets)
