"""Fine-tuning of the last layers of MobileNetV2: what stays as it is runs once, what is retrained many times.

The head is first fitted alone, then head and inner layers are trained together (Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution": a random head would send noise into good layers).
Batch normalization keeps its statistics. Imports TensorFlow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from edged.contract.hyperparameters import Hyperparameters as HeadHyperparameters
from edged.lab.finetune.job import Depth, Epoch, Hyperparameters
from edged.learning.softmax_regression import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOMENTUM = 0.9
_SMOOTHING = 0.1
"""Of the labels (Szegedy et al. 2016): a few images are soon told apart, and then no gradient would be left."""
_CLIP = 1.0
"""Greatest norm of the inner layers' gradient: one odd image must not undo what ImageNet has taught."""
_HEAD_L2 = 1e-3
"""Of the head's first fit, more than where it is the last one: a sure head sends large gradients."""
_FORWARD = 32  # images at once where nothing is learned


@dataclass
class Examples:
    """One split.

    Attributes:
        inputs: One array per view (plain; flipped too in training): (n, 224, 224, 3) uint8, or what the layers that
            stay as they are make of it, float16.
        labels: (n,) int.
    """

    inputs: list[NDArray[Any]]
    labels: NDArray[np.intp]


def split_network(base: Any, depth: Depth) -> tuple[Any | None, Any | None]:
    """Return what stays as it is and what is retrained before the head; the two share `base`'s layers and weights.

    Args:
        base: Keras' MobileNetV2 with its 1,000 classes; its pooled features are what the new head gets.
        depth: How much is retrained, which says where to cut.

    Returns:
        (from images to the cut, from the cut to features); None stands for nothing in between.
    """
    features = base.layers[-2].output
    if depth.blocks is None:
        return None, tf.keras.Model(base.input, features)
    if depth.first_block is None:
        return tf.keras.Model(base.input, features), None
    cut = base.get_layer(f"block_{depth.first_block}_expand").input
    return tf.keras.Model(base.input, cut), tf.keras.Model(cut, features)


def run_frozen(frozen: Any | None, images: NDArray[np.uint8], *, flipped: bool) -> list[NDArray[Any]]:
    """Return the plain view, and with `flipped` the mirrored one, behind the layers that stay as they are."""
    views = [images, images[:, :, ::-1]] if flipped else [images]
    if frozen is None:
        return views
    call = tf.function(lambda batch: tf.cast(frozen(_scaled(batch), training=False), tf.float16))
    return [
        np.concatenate([call(view[i : i + _FORWARD]).numpy() for i in range(0, len(view), _FORWARD)]) for view in views
    ]


def _scaled(batch: Any) -> Any:
    return tf.cast(batch, tf.float32) / 127.5 - 1.0


class Training:
    """Head and retrained layers; used once.

    Args:
        tuned: From `split_network`.
        train, validation: Examples behind the frozen layers.
        classes: Number of labels.
        hyperparameters: How to fine-tune.
    """

    def __init__(
        self, tuned: Any | None, train: Examples, validation: Examples, classes: int, hyperparameters: Hyperparameters
    ) -> None:
        self._tuned, self._train, self._validation = tuned, train, validation
        self._how = hyperparameters
        self._random = np.random.default_rng(hyperparameters.seed)
        self._inner = [] if tuned is None or hyperparameters.multiplier == 0 else list(tuned.trainable_variables)
        self._forward = tf.function(self._features, reduce_retracing=True)
        self._fit_head(classes)
        self._lr = tf.Variable(hyperparameters.lr, trainable=False)
        self._speeds = [tf.Variable(tf.zeros_like(one), trainable=False) for one in self._variables]
        self._compiled = tf.function(self._step, reduce_retracing=True)

    def run(self, tell: Callable[[Epoch], None]) -> int:
        """Train; keep the weights of the epoch with the lowest validation loss, which may be that of the fitted head.

        Returns:
            The epoch kept; 0: the fitted head on layers as they were.
        """
        best, best_epoch = self._snapshot(), 0
        loss, accuracy = self.judge(self._validation)
        best_loss = math.inf if loss is None else loss
        tell(Epoch(0, 0.0, *self._both(self._train), loss, accuracy, 0.0))
        for epoch in range(1, self._how.epochs + 1):
            began = time.monotonic()
            lr = self._how.lr * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self._how.epochs))
            self._lr.assign(lr)
            train_loss, train_accuracy = self._pass()
            loss, accuracy = self.judge(self._validation)
            tell(Epoch(epoch, lr, train_loss, train_accuracy, loss, accuracy, time.monotonic() - began))
            if not math.isfinite(train_loss):
                break
            if loss is None or loss < best_loss:
                best, best_epoch, best_loss = self._snapshot(), epoch, math.inf if loss is None else loss
            elif epoch - best_epoch >= self._how.patience:
                break
        for variable, value in zip(self._variables, best, strict=True):
            variable.assign(value)
        return best_epoch

    def judge(self, examples: Examples) -> tuple[float | None, float | None]:
        """Return mean cross-entropy and accuracy on the plain view; None without images."""
        return self._both(examples) if len(examples.labels) else (None, None)

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return kernel (features, classes) and bias for plain features."""
        kernel = self._kernel.numpy() * self._gain
        return kernel, self._bias.numpy() - self._mean @ kernel

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _variables(self) -> list[Any]:
        return [self._kernel, self._bias, *self._inner]

    def _features(self, batch: Any) -> Any:
        if self._tuned is None:
            return tf.cast(batch, tf.float32)
        batch = _scaled(batch) if batch.dtype == tf.uint8 else tf.cast(batch, tf.float32)
        return self._tuned(batch, training=False)

    def _logits(self, batch: Any) -> Any:
        return (self._features(batch) - self._mean) * self._gain @ self._kernel + self._bias

    def _fit_head(self, classes: int) -> None:
        """Fit the head alone, and choose what brings its input to mean 0 and a mean squared norm of 1."""
        train = np.stack([self._all_features(view) for view in self._train.inputs], axis=1)
        validation = (self._all_features(self._validation.inputs[0]), self._validation.labels)
        fitted = fit(
            train,
            self._train.labels,
            classes=classes,
            validation=validation,
            hyperparameters=HeadHyperparameters(l2=_HEAD_L2),
        )
        rows = train.reshape(-1, train.shape[-1])
        self._mean = rows.mean(axis=0)
        self._gain = np.float32(1 / math.sqrt(float(np.square(rows - self._mean).sum(axis=1).mean()) + 1e-12))
        self._kernel = tf.Variable(fitted.weights.T / self._gain)
        self._bias = tf.Variable(fitted.bias + fitted.weights @ self._mean)

    def _all_features(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        parts = [self._forward(inputs[i : i + _FORWARD]).numpy() for i in range(0, len(inputs), _FORWARD)]
        return np.concatenate(parts) if parts else np.zeros((0, 1280), np.float32)

    def _both(self, examples: Examples) -> tuple[float, float]:
        features = self._all_features(examples.inputs[0])
        kernel, bias = self.head()
        logits = features @ kernel + bias
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(logits)), examples.labels]
        return float(losses.mean()), float((logits.argmax(axis=1) == examples.labels).mean())

    def _pass(self) -> tuple[float, float]:
        losses, hits = 0.0, 0
        for inputs, labels in self._batches():
            loss, hit = self._compiled(inputs, labels)
            losses, hits = losses + float(loss) * len(labels), hits + int(hit)
        return losses / len(self._train.labels), hits / len(self._train.labels)

    def _batches(self) -> Iterator[tuple[NDArray[Any], NDArray[np.intp]]]:
        order = self._random.permutation(len(self._train.labels))
        views = self._train.inputs
        for picked in np.array_split(order, math.ceil(len(order) / self._how.batch)):
            chosen = self._random.integers(len(views), size=len(picked))
            yield (
                np.stack([views[view][index] for view, index in zip(chosen, picked, strict=True)]),
                (self._train.labels[picked]),
            )

    def _step(self, inputs: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = self._logits(inputs)
            targets = tf.one_hot(labels, logits.shape[-1])
            targets = (1 - _SMOOTHING) * targets + _SMOOTHING / logits.shape[-1]
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        gradients = tape.gradient(loss, self._variables)
        if self._inner:
            inner, _ = tf.clip_by_global_norm(gradients[2:], _CLIP)
            gradients = [*gradients[:2], *inner]
        for number, (variable, speed, gradient) in enumerate(
            zip(self._variables, self._speeds, gradients, strict=True)
        ):
            rate = self._lr if number < 2 else self._lr * self._how.multiplier
            speed.assign(_MOMENTUM * speed - rate * gradient)
            variable.assign_add(speed)
        return loss, tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == tf.cast(labels, tf.int64), tf.int32))

    def _snapshot(self) -> list[NDArray[Any]]:
        return [variable.numpy() for variable in self._variables]
