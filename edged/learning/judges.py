"""Heads that are made like a model's, each without a fifth of its images: with them every image can judge. Pure numpy.

Who trains a model for many devices makes them (`pooled`), and a device lets each of its labeled images be judged by the
one that was not made of it (`offer`), as `comparison` does where a device trains by itself. Which fifth an image is in
follows from its group of near duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import RefusedError
from edged.learning.comparison import FOLDS, folds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.vision.quantization import Affine

_DTYPE = "<f2"
"""The third digit of a weight changes no answer that is worth a name."""


@dataclass(frozen=True)
class Judges:
    """One head for each fold.

    Attributes:
        weights: (folds, classes, features) float32, for real-valued bottlenecks.
        bias: (folds, classes) float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def encode(self) -> bytes:
        """Return it as bytes; their number follows from the numbers of classes and features."""
        joined: NDArray[np.float32] = np.concatenate([self.weights, self.bias[:, :, np.newaxis]], axis=2)
        return bytes(joined.astype(_DTYPE).tobytes())

    @classmethod
    def decode(cls, data: bytes, classes: int, features: int) -> Judges:
        """Return what was encoded.

        Raises:
            RefusedError: It is of another model, or damaged.
        """
        shape = (FOLDS, classes, features + 1)
        if len(data) != np.prod(shape) * np.dtype(_DTYPE).itemsize:
            raise RefusedError(f"the heads that judge are {len(data)} bytes and do not fit a model of {classes} labels")
        joined = np.frombuffer(data, _DTYPE).reshape(shape).astype(np.float32)
        if not np.isfinite(joined).all():
            raise RefusedError("the heads that judge are damaged: not all of their weights are numbers")
        return cls(joined[:, :, :-1], joined[:, :, -1])

    def logits(self, bottlenecks: NDArray[Any], affine: Affine, groups: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, classes) of images, each by the head that was not made of it.

        Args:
            bottlenecks: (n, features) bytes.
            affine: What they mean.
            groups: n ids of groups of near duplicates.
        """
        found = np.empty((len(bottlenecks), self.bias.shape[1]), np.float32)
        folds = folds_of(groups)
        for fold in range(FOLDS):
            own = folds == fold
            found[own] = affine.dequantize(bottlenecks[own]) @ self.weights[fold].T + self.bias[fold]
        return found
