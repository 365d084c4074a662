"""Logistic regression with a ridge, by iteratively reweighted least squares. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edged.selection.cascade import Doubt

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 12


def fit_logistic(rows: NDArray[np.float32], wrong: NDArray[np.bool_], l2: float) -> Doubt:
    """Fit P(wrong | row).

    Args:
        rows: (n, features).
        wrong: (n,).
        l2: Weight of ½ ‖w‖² beside the mean loss; rows are normalised to mean 0 and standard deviation 1 first.

    Source: Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, section 4.4.1 (Newton's method), with
    Firth-like counts of half a photo added to each class for the bias, so that a perfect network gives a finite one.
    """
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
    normal = (rows - mean) / scale
    count, width = normal.shape
    with_bias = np.concatenate([normal, np.ones((count, 1))], axis=1)
    ridge = np.diag([*[l2] * width, 1e-9])
    target = (wrong * count + 0.5) / (count + 1)
    share = float(target.mean())
    solution = np.zeros(width + 1)
    solution[-1] = np.log(share / (1 - share))
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(with_bias @ solution, -30, 30)))
        gradient = with_bias.T @ (p - target) / count + ridge @ solution
        curvature = (with_bias * np.maximum(p * (1 - p), 1e-6)[:, np.newaxis]).T @ with_bias / count + ridge
        step = np.linalg.solve(curvature, gradient)
        solution -= step
        if np.abs(step).max() < 1e-6:
            break
    return Doubt(
        mean.astype(np.float32), scale.astype(np.float32), solution[:-1].astype(np.float32), float(solution[-1])
    )
