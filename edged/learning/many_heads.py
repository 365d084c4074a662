"""Heads of several sets of few images, trained side by side: the same steps as in `softmax_regression`, all at once.

A cross-validation makes ten heads of nearly the same images, and a step of one of them is so little work that calling
numpy takes longer. So every array gets one more dimension, the heads, and a step is taken for all of them. A set that
is smaller than the largest is filled up with an example that counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edged.errors import TrainingError
from edged.learning.softmax_regression import Head, as_rows, class_weights_of, for_real
from edged.learning.standardisation import Standardisation, enough_of, largest_eigenvalue, smoothness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.contract.hyperparameters import Hyperparameters
    from edged.learning.softmax_regression import Features, Labels
    from edged.vision.quantization import Affine

    Vector = NDArray[np.float32]


def fit_spanned(
    sets: Sequence[tuple[Features, Labels]],
    *,
    classes: int,
    affine: Affine,
    hyperparameters: Hyperparameters,
    rates: Sequence[float],
) -> list[Head | None]:
    """Train a head of each set as `softmax_regression.fit` does with these rates.

    Args:
        sets: Features and labels of each; with so few examples that `spans` says so.
        classes, affine, hyperparameters, rates: As for `fit`.

    Returns:
        None in place of a head where `fit` would raise an error.
    """
    ready: dict[int, _Set] = {}
    for number, (features, labels) in enumerate(sets):
        try:
            ready[number] = _Set(*as_rows(features, labels, classes), classes, hyperparameters)
        except TrainingError:
            continue
    heads: list[Head | None] = [None] * len(sets)
    for steps in sorted({one.steps for one in ready.values()}):
        alike = {number: one for number, one in ready.items() if one.steps == steps}
        descent = _Descents(list(alike.values()), classes, hyperparameters)
        for rate in rates:
            descent.epoch(rate)
        for (number, one), weights, bias in zip(alike.items(), descent.weights, descent.bias, strict=True):
            head = for_real(*one.for_stored(weights, bias[:, 0]), affine)
            heads[number] = head if head.is_finite else None
    return heads


class _Set:
    """The examples of one head; see `softmax_regression._Spanned`."""

    def __init__(self, rows: Features, targets: NDArray[np.intp], classes: int, how: Hyperparameters) -> None:
        if len(np.unique(targets)) < 2:
            raise TrainingError("training needs labeled images of at least two classes")
        self._rows, self.targets = rows, targets
        self._scaling = Standardisation.of(rows)
        examples = self._scaling.apply(rows)
        self.products: Vector = examples @ examples.T
        batch = min(how.batch, len(rows))
        self.smoothness = smoothness(1.0, largest_eigenvalue(examples[enough_of(len(rows))]), batch) + how.l2
        self.class_weights = class_weights_of(targets, classes)
        self.steps = math.ceil(len(rows) / batch)
        self.order = np.random.default_rng(how.seed)

    def for_stored(self, weights: Vector, bias: Vector) -> tuple[Vector, Vector]:
        """Return weights and bias on features as they are stored; `weights` may be longer than there are examples."""
        scaling = self._scaling
        stored: Vector = (weights[:, : len(self.targets)] @ scaling.apply(self._rows)) * scaling.gain
        return stored, bias - stored @ scaling.mean


class _Descents:
    """The state of the descents of several sets, each in as many steps an epoch.

    Attributes:
        weights: (heads, classes, examples) of the sums of examples.
        bias: (heads, classes, 1).
    """

    def __init__(self, sets: list[_Set], classes: int, how: Hyperparameters) -> None:
        self._sets, self._steps = sets, sets[0].steps
        most = max(len(one.targets) for one in sets)
        self._nobody = most  # the example that counts nothing stands behind all others
        heads, width = len(sets), most + 1
        self._products = np.zeros((heads, width, width), np.float32)
        self._targets = np.zeros((heads, width), np.intp)
        self._counts = np.zeros((heads, width), np.float32)
        self._batch = math.ceil(most / self._steps)
        self._sizes = np.empty((self._steps, heads, 1, 1), np.float32)
        self._slots = []
        for number, one in enumerate(sets):
            own = len(one.targets)
            self._products[number, :own, :own] = one.products
            self._targets[number, :own] = one.targets
            self._counts[number, :own] = one.class_weights[one.targets]
            sizes = [own // self._steps + (step < own % self._steps) for step in range(self._steps)]
            self._sizes[:, number, 0, 0] = sizes
            self._slots.append(
                np.concatenate([step * self._batch + np.arange(size) for step, size in enumerate(sizes)])
            )
        self._smoothness = np.array([one.smoothness for one in sets], np.float32)[:, np.newaxis, np.newaxis]
        self._momentum, self._l2 = np.float32(how.momentum), np.float32(how.l2)
        self.weights = np.zeros((heads, classes, width), np.float32)
        self.bias = np.zeros((heads, classes, 1), np.float32)
        self._speed = np.zeros_like(self.weights), np.zeros_like(self.bias)
        self._slope, self._decay = np.empty_like(self.weights), np.empty_like(self.weights)
        self._taken = np.empty((heads, self._batch, width), np.float32)

    def epoch(self, lr: float) -> None:
        """Pass over all examples of every set once."""
        heads, classes, width = self.weights.shape
        picked = np.full((heads, self._steps * self._batch), self._nobody)
        for number, (one, slots) in enumerate(zip(self._sets, self._slots, strict=True)):
            picked[number, slots] = one.order.permutation(len(one.targets))
        targets = np.take_along_axis(self._targets, picked, axis=1)[:, np.newaxis]
        right = (targets == np.arange(classes)[:, np.newaxis]).astype(np.float32)
        counts = np.take_along_axis(self._counts, picked, axis=1)[:, np.newaxis]
        rows = picked + np.arange(heads)[:, np.newaxis] * width
        places = (np.arange(heads * classes) * width).reshape(heads, classes, 1) + picked[:, np.newaxis]
        step_size = np.float32(lr) / self._smoothness
        for step in range(self._steps):
            part = slice(step * self._batch, (step + 1) * self._batch)
            weights = counts[:, :, part] * (step_size / self._sizes[step])
            self._step(rows[:, part], places[:, :, part], right[:, :, part], weights, step_size * self._l2)

    def _step(
        self, rows: NDArray[np.intp], places: NDArray[np.intp], right: Vector, weights: Vector, decay: Vector
    ) -> None:
        """Take a step by some of the examples of every set.

        Args:
            rows: (heads, picked) their rows among the products of all sets.
            places: (heads, classes, picked) their numbers' places among all weights.
            right: (heads, classes, picked) the probabilities that their targets stand for, 0 or 1.
            weights: (heads, 1, picked) how far a step goes for each of them.
            decay: (heads, 1, 1) what the step takes off the weights.
        """
        table = self._products.reshape(-1, self._products.shape[-1])
        np.take(table, rows, axis=0, out=self._taken, mode="clip")
        errors: Vector = self.weights @ self._taken.transpose(0, 2, 1)
        errors += self.bias
        errors -= errors.max(axis=1, keepdims=True)
        np.exp(errors, out=errors)
        errors /= errors.sum(axis=1, keepdims=True)
        errors -= right
        errors *= weights
        self._slope.fill(0)
        self._slope.reshape(-1)[places] = errors
        speed, bias_speed = self._speed
        speed *= self._momentum
        speed -= self._slope
        speed -= np.multiply(self.weights, decay, out=self._decay)
        bias_speed *= self._momentum
        bias_speed -= self._smoothness * errors.sum(axis=2, keepdims=True)  # see `softmax_regression`
        self.weights += speed
        self.bias += bias_speed
