"""Which features a premodel looks at: correlated ones go, the rest is normalised. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORRELATED = 0.75
"""Taylor et al. 2018 remove a feature with a higher Pearson correlation (absolute) to one that stays."""


def uncorrelated(rows: NDArray[np.float32], names: Sequence[str], costs_ms: dict[str, float]) -> tuple[str, ...]:
    """Return the names that stay, in their order.

    Constant features go; then, of each correlated pair, the dearer one (of equal ones the later).

    Args:
        rows: (photos, len(names)).
        names: Of the columns.
        costs_ms: Of each name.
    """
    varies = rows.std(axis=0) > 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):  # constant columns
        correlation = np.abs(np.corrcoef(rows, rowvar=False))
    kept: list[int] = []
    for index in sorted(range(len(names)), key=lambda index: (costs_ms[names[index]], index)):
        if varies[index] and all(correlation[index, other] <= CORRELATED for other in kept):
            kept.append(index)
    return tuple(names[index] for index in sorted(kept))


def range_of(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least value and the span of each column, for normalisation to 0..1; a constant column has span 1."""
    low = rows.min(axis=0)
    span = rows.max(axis=0) - low
    return low.astype(np.float32), np.where(span > 0, span, 1).astype(np.float32)
