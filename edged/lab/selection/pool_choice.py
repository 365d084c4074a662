"""Which of the installed networks a premodel chooses among: the algorithm of Taylor et al. 2018, section 3.5.

    pool ← {the network that is the optimal one for most photos}
    repeat
        failed ← photos that no network of the pool classifies correctly
        add the network that is right on most of `failed`
    until the accuracy of the pool (some network of it is right) grew by no more than θ

The optimal network for a photo is the cheapest one that is right. The paper's θ is half a percentage point; the network
that no longer brings more than θ is left out again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THETA = 0.005


def optimal(right: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the cheapest network that is right on each photo; where none is, the cheapest of all: nothing is lost.

    Args:
        right: (networks, photos), cheapest network first.
    """
    return np.asarray(right.argmax(axis=0), np.int32)


def choose_pool(right: NDArray[np.bool_], theta: float = THETA) -> tuple[int, ...]:
    """Return the indices of the pool's networks, cheapest first.

    Args:
        right: (networks, photos), cheapest network first.
        theta: Least growth of accuracy, 0..1, for one more network.
    """
    solvable = right.any(axis=0)
    first = int(np.bincount(optimal(right)[solvable], minlength=len(right)).argmax())
    pool, solved = [first], right[first].copy()
    while len(pool) < len(right):
        gains = (right & ~solved).sum(axis=1)
        added = int(gains.argmax())
        if gains[added] / max(len(solved), 1) <= theta:
            break
        pool.append(added)
        solved |= right[added]
    return tuple(sorted(pool))
