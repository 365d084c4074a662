"""How a head is made of labeled images, in a form that makes it again of other images. Pure numpy.

A head is trained twice. The validation side chooses the number of epochs, and where the learning rate is cut; then a
head goes the same way on the training and the validation side together. With few images the eighth of all that this
adds counts: on flower photos, 2.5 points with 5 to 10 photos a label, 1 point with 50 to 100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import TrainingError
from edged.learning.many_heads import fit_spanned
from edged.learning.softmax_regression import EpochReport, Fitted, Head, fit, learning_rates, spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.softmax_regression import Features, Labels
    from edged.vision.quantization import Affine


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes a head of labeled images, and does not depend on which they are.

    Attributes:
        hyperparameters: How it is trained.
        epochs: Passes over the images.
        cuts: Epochs, from 1, after which the learning rate is cut.
    """

    hyperparameters: Hyperparameters
    epochs: int
    cuts: tuple[int, ...] = ()

    def fit(
        self,
        features: Features,
        labels: Labels,
        *,
        classes: int,
        affine: Affine,
        progress: Callable[[EpochReport], None] | None = None,
    ) -> Fitted:
        """Make a head of labeled images; the arguments are those of `softmax_regression.fit`."""
        rates = learning_rates(self.hyperparameters.lr, self.epochs, self.cuts)
        return fit(
            features,
            labels,
            classes=classes,
            affine=affine,
            hyperparameters=self.hyperparameters,
            rates=rates,
            progress=progress,
        )

    def fit_each(
        self, features: Features, labels: Labels, parts: Sequence[NDArray[np.bool_]], *, classes: int, affine: Affine
    ) -> Iterator[Head | None]:
        """Yield the head of each part of labeled images; None: it allows no training, see `softmax_regression.fit`.

        Args:
            features, labels: Of all n images; these and the others are those of `softmax_regression.fit`.
            parts: (n,) each, which images are in it.
        """
        rows = [int(np.count_nonzero(part)) * (features.shape[1] if features.ndim == 3 else 1) for part in parts]
        if all(spans(count, features.shape[-1]) for count in rows):
            how = self.hyperparameters
            yield from fit_spanned(
                [(features[part], labels[part]) for part in parts],
                classes=classes,
                affine=affine,
                hyperparameters=how,
                rates=learning_rates(how.lr, self.epochs, self.cuts),
            )
            return
        for part in parts:
            try:
                yield self.fit(features[part], labels[part], classes=classes, affine=affine)
            except TrainingError:  # what is left may be the same image again and again
                yield None


@dataclass(frozen=True, slots=True)
class Made:
    """A head, and how it came about.

    Attributes:
        head: Trained on the training and the validation side.
        chosen: The head of the training side alone whose epoch the validation side chose; its history is the
            training's.
        recipe: Makes heads like `head` of other images.
    """

    head: Fitted
    chosen: Fitted
    recipe: Recipe


def make_head(
    train: tuple[Features, Labels],
    validation: tuple[Features, Labels],
    *,
    classes: int,
    affine: Affine,
    hyperparameters: Hyperparameters,
    progress: Callable[[EpochReport], None] | None = None,
) -> Made:
    """Choose the number of epochs, and make a head of both sides.

    Args:
        train: Features (n, d), or (n, views, d), and labels (n,) of the training side; see `softmax_regression.fit`.
        validation: Features (m, d) and labels (m,) of the validation side; empty: the last epoch is taken.
        classes: Number of classes.
        affine: Scale and zero point of the features' bytes.
        hyperparameters: How to train.
        progress: Called after each epoch that the validation side judges.

    Raises:
        TrainingError: The features allow no training, see `softmax_regression.fit`.
    """
    chosen = fit(
        *train,
        classes=classes,
        affine=affine,
        validation=validation,
        hyperparameters=hyperparameters,
        progress=progress,
    )
    recipe = Recipe(hyperparameters, chosen.best_epoch, chosen.cuts)
    if not len(validation[1]):
        return Made(chosen, chosen, recipe)
    return Made(recipe.fit(*both_sides(train, validation), classes=classes, affine=affine), chosen, recipe)


def both_sides(train: tuple[Features, Labels], validation: tuple[Features, Labels]) -> tuple[Features, Labels]:
    """Return what a head is made of: the features and labels of the training and the validation side together."""
    features = np.concatenate([train[0], in_views(validation[0], train[0])])
    return cast("Features", features), np.concatenate([train[1], validation[1]])


def in_views(plain: Features, like: Features) -> Features:
    """Return plain features (m, d) in the form of others: (m, views, d), each view the plain one, or as they are."""
    if like.ndim == 2:
        return plain
    return cast("Features", np.repeat(plain[:, np.newaxis], like.shape[1], axis=1))
