"""Frames that show the same kind of thing, found by their bottlenecks. Pure: numpy in, numpy out.

Two to four kinds of flowers, of ImageNet's photos and of handwritten digits as strangers, the others taught: directions
from the mean of all, as here, tell strangers apart better than those from the mean of what is taught, and average
linkage does better than complete (on photos from which no reported number comes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edged.vision.familiarity import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Vector

AS_ALIKE = 0.95
"""Frames are of one group if they are more alike than this share of the pairs of taught images of different labels."""
WITHOUT_TAUGHT = 0.2
"""Cosine that stands for it where nothing is taught: about what it is for most sets of photos."""
_COMPARED = 1000
"""So many taught images tell it, spread evenly over all: the memory goes with the square of the number."""


def directions(bottlenecks: Vector, origin: Vector) -> Vector:
    """Return (n, d) float32 vectors of length 1, or 0 for `origin` itself, from `origin` (d,) to bottlenecks (n, d).

    Bottlenecks are never below 0, so that all of them point the same way from 0 and their cosines tell little.
    """
    return unit(bottlenecks - origin)


def group_alike(
    strangers: Vector, taught: Vector | None = None, labels: NDArray[np.integer[Any]] | None = None
) -> list[NDArray[np.intp]]:
    """Divide strangers into groups that show the same kind of thing.

    How alike is alike enough follows from the taught images: see `AS_ALIKE`.

    Args:
        strangers: (n, d) float32 bottlenecks.
        taught: (m, d) float32 bottlenecks of images whose labels are known; None: there are none.
        labels: (m,) their labels.

    Returns:
        For each group the rows of its members, the most central one first and then by how near they are to it; large
        groups first, equally large ones in the order of their first rows. Every row is in one group.
    """
    if len(strangers) == 0:
        return []
    known = taught if taught is not None and len(taught) else strangers[:0]
    origin = np.asarray(np.concatenate([strangers, known]).mean(axis=0), np.float32)
    pointing = directions(strangers, origin)
    alike = WITHOUT_TAUGHT
    if labels is not None and len(np.unique(labels)) > 1:
        alike = _likeness_of_others(directions(known, origin), labels)
    similarity = pointing @ pointing.T
    groups = [_from_the_centre(rows, similarity) for rows in average_linkage(similarity, alike)]
    return sorted(groups, key=lambda rows: (-len(rows), rows.min()))


def average_linkage(similarity: Vector, least: float) -> list[NDArray[np.intp]]:
    """Cluster by average linkage (UPGMA; R. Sokal and C. Michener, 1958): merge the two most alike until none is.

    Args:
        similarity: (n, n), symmetric.
        least: Clusters are merged while the mean similarity of their pairs of members is at least this.

    Returns:
        The rows of each cluster, ascending.
    """
    count = len(similarity)
    between = np.array(similarity, np.float64)
    np.fill_diagonal(between, -np.inf)
    sizes = np.ones(count)
    members = [[row] for row in range(count)]
    nearest = between.argmax(axis=1)
    best = between[np.arange(count), nearest]
    for _ in range(count - 1):
        one = int(best.argmax())
        if best[one] < least:
            break
        other = int(nearest[one])
        merged = (sizes[one] * between[one] + sizes[other] * between[other]) / (sizes[one] + sizes[other])
        merged[[one, other]] = -np.inf
        between[one], between[:, one] = merged, merged
        between[:, other] = -np.inf
        sizes[one] += sizes[other]
        members[one] += members[other]
        members[other] = []
        best[other] = -np.inf
        # Only of these has the nearest changed: a mean of two likenesses is not above both.
        for row in np.flatnonzero(np.isin(nearest, (one, other))):
            if members[row]:
                nearest[row] = between[row].argmax()
                best[row] = between[row, nearest[row]]
    return [np.array(sorted(rows), np.intp) for rows in members if rows]


def _likeness_of_others(pointing: Vector, labels: NDArray[np.integer[Any]]) -> float:
    """Return the cosine that `AS_ALIKE` of the pairs of different labels stay below; there are two labels or more."""
    if len(labels) > _COMPARED:
        by_label = np.argsort(labels, kind="stable")  # so that each label keeps its share, and a rare one a place
        some = by_label[np.linspace(0, len(labels) - 1, _COMPARED).astype(np.intp)]
        pointing, labels = pointing[some], labels[some]
    cosines = pointing @ pointing.T
    return float(np.quantile(cosines[labels[:, np.newaxis] != labels], AS_ALIKE))


def _from_the_centre(rows: NDArray[np.intp], similarity: Vector) -> NDArray[np.intp]:
    """Return a group's rows, the one that is most like all of them first, the others by how like that one they are."""
    inside = similarity[np.ix_(rows, rows)]
    centre = int(inside.sum(axis=1).argmax())
    order = np.argsort(-inside[centre], kind="stable")
    return np.asarray(rows[np.concatenate([[centre], order[order != centre]])], np.intp)
