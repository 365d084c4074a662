"""How good heads on a network's bottlenecks are on images that they were not trained on. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.hyperparameters import Hyperparameters
from edged.learning.softmax_regression import fit
from edged.vision.quantization import Affine
from edged.vision.scores import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.softmax_regression import Features

FOLDS = 5
_EPOCHS = 40
"""Passes over the images; no part is held out for early stopping."""


@dataclass(frozen=True)
class CrossValidation:
    """What the heads of all folds make of the images that each was not trained on.

    Attributes:
        correct: (n,) bool: whether the head that was not trained on this image is right.
        likelihood: (n,) float64, 0..1: the probability that this head gives the image's label.
        accuracy: Share of the right ones, 0..1.
        error: Standard error of the accuracy, as if images were independent.
    """

    correct: NDArray[np.bool_]
    likelihood: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """Share of the right ones, 0..1."""
        return float(self.correct.mean())

    @property
    def error(self) -> float:
        """Standard error of `accuracy`."""
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / len(self.correct)))

    @property
    def rank(self) -> tuple[float, float]:
        """What networks that saw the same images are compared by: accuracy, and between equals the mean likelihood."""
        return self.accuracy, float(self.likelihood.mean())


def assign_folds(
    labels: NDArray[np.intp], groups: Sequence[str], folds: int = FOLDS, seed: int = 0
) -> NDArray[np.intp]:
    """Return the fold 0..folds − 1 of each image: classes spread evenly, near duplicates (same group) together."""
    first = {group: index for index, group in reversed(list(enumerate(groups)))}
    members: dict[int, list[int]] = {}
    for index in first.values():
        members.setdefault(int(labels[index]), []).append(index)
    random = np.random.default_rng(seed)
    of_group: dict[str, int] = {}
    dealt = 0
    for label in sorted(members):
        for index in random.permutation(members[label]):
            of_group[groups[int(index)]] = dealt % folds
            dealt += 1
    return np.array([of_group[group] for group in groups], np.intp)


def cross_validate(
    features: Features,
    labels: NDArray[np.intp],
    groups: Sequence[str],
    *,
    classes: int,
    affine: Affine,
    folds: int = FOLDS,
    seed: int = 0,
) -> CrossValidation:
    """Train a head on all folds but one, judge it on that one, for every fold.

    Args:
        features: (n, d) bytes of bottlenecks.
        labels: (n,) 0..classes − 1.
        groups: n ids; images with the same one (near duplicates) stay in the same fold.
        classes: Number of labels.
        affine: Scale and zero point of the bytes.
        folds: Number of parts that the images are divided into.
        seed: Seed of the division into folds and of each training.

    Raises:
        TrainingError: The features allow no training, see `softmax_regression.fit`.
    """
    fold_of = assign_folds(labels, groups, folds, seed)
    correct = np.zeros(len(labels), bool)
    likelihood = np.zeros(len(labels))
    for fold in np.unique(fold_of):
        held_out = fold_of == fold
        fitted = fit(
            features[~held_out],
            labels[~held_out],
            classes=classes,
            affine=affine,
            hyperparameters=Hyperparameters(epochs=_EPOCHS, seed=seed),
        )
        probabilities = softmax(fitted.logits(features[held_out], affine))
        correct[held_out] = probabilities.argmax(axis=1) == labels[held_out]
        likelihood[held_out] = probabilities[np.arange(len(probabilities)), labels[held_out]]
    return CrossValidation(correct, likelihood)
