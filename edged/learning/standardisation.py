"""Features on one scale, and how large a step on them may be: what makes one learning rate fit every network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.errors import TrainingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]
    Vector = NDArray[np.float32]

ROWS = 512
"""So many rows are turned into floats at once where all of them are looked at, which bounds the memory."""
_EXACT_ROWS = 256
"""The squares of so many bytes add up to less than 2^24: single precision holds their sum exactly."""
_ITERATIONS = 8


def smoothness(mean_squared_norm: float, largest_eigenvalue: float, batch: int) -> float:
    """Return the expected smoothness of the mini-batch softmax loss.

    The cross-entropy's Hessian in the logits is at most ½ I (Böhning 1992, "Multinomial logistic regression
    algorithm"), so the whole loss is ½ λmax(E[x xᵀ])-smooth and that of one example ½ ‖x‖²-smooth. A batch of b drawn
    from many examples lies between: ½ ((1 − 1/b) λmax + ‖x‖² / b) (Gower et al. 2019, "SGD: general analysis and
    improved rates", proposition 3.8, for n → ∞ and the mean norm in place of the largest).

    Args:
        mean_squared_norm: E‖x‖² over the examples.
        largest_eigenvalue: λmax, the largest eigenvalue of E[x xᵀ].
        batch: Number of examples per step.
    """
    return 0.5 * ((1 - 1 / batch) * largest_eigenvalue + mean_squared_norm / batch)


@dataclass(frozen=True, slots=True)
class Standardisation:
    """x = (stored − mean) · gain, with mean 0 and a mean squared norm of 1 over the training examples.

    Attributes:
        mean: (features,) mean of the stored values.
        gain: (features,) factor on their difference to the mean.
    """

    mean: Vector
    gain: Vector

    @classmethod
    def of(cls, rows: Features) -> Standardisation:
        """Measure training examples (n, features), a part at a time.

        Raises:
            TrainingError: All examples are the same.
        """
        total, squares = _sums(rows)
        mean = total / len(rows)
        variance = np.maximum(squares / len(rows) - mean**2, 0.0)
        typical = variance.mean()
        if not typical > 0:
            raise TrainingError("all bottlenecks are the same; the images cannot be told apart")
        # A feature that hardly ever fires would be blown up to noise: half of the typical variance is added to each.
        gain: NDArray[np.float64] = 1 / np.sqrt(variance + 0.5 * typical)
        gain /= np.sqrt((variance * gain**2).sum())
        return cls(mean.astype(np.float32), gain.astype(np.float32))

    def apply(self, rows: Features) -> Vector:
        """Return (n, features) stored values as the trainer sees them."""
        inputs: Vector = rows.astype(np.float32)
        inputs -= self.mean
        inputs *= self.gain
        return inputs


def enough_of(examples: int) -> slice:
    """Return which of so many examples are enough for `largest_eigenvalue`: of many every second, third, …"""
    return slice(None, None, max(1, examples // (2 * ROWS)))


def largest_eigenvalue(inputs: Vector) -> float:
    """Estimate the largest eigenvalue of E[x xᵀ], from below; a few percent are enough for a step size.

    Args:
        inputs: (n, features) examples x, or enough of them.
    """
    direction = np.random.default_rng(0).standard_normal(inputs.shape[1:]).astype(np.float32)
    eigenvalue = 0.0
    for _ in range(_ITERATIONS):
        direction /= np.float32(np.linalg.norm(direction))
        image = np.zeros_like(direction)
        for begin in range(0, len(inputs), ROWS):
            part = inputs[begin : begin + ROWS]
            image += (part @ direction) @ part
        eigenvalue = float(direction @ image) / len(inputs)
        direction = image
    return eigenvalue


def _sums(rows: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of every feature, and that of its square."""
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    if rows.dtype.kind == "f":
        for begin in range(0, len(rows), ROWS):
            part = rows[begin : begin + ROWS].astype(np.float64)
            total += part.sum(axis=0)
            squares += np.einsum("ij,ij->j", part, part)
        return total, squares
    ones = np.ones(_EXACT_ROWS, np.float32)
    for begin in range(0, len(rows), _EXACT_ROWS):
        real = rows[begin : begin + _EXACT_ROWS].astype(np.float32)
        total += ones[: len(real)] @ real
        real *= real
        squares += ones[: len(real)] @ real
    return total, squares
