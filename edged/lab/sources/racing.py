"""Who stays in a race of networks over labeled images, and how many images they see next. Pure numpy.

Successive halving (Karnin, Koren, Somekh 2013, "Almost Optimal Exploration in Multi-Armed Bandits"; Jamieson and
Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"): from round to round fewer
networks see twice as many images. Two things differ. What is surely worse leaves at once, by a paired test on the same
images; and a pass through one network may cost a hundred of another's, so where there is no time for all, those leave
first that are least likely to win for what they cost. The first one stays, unless it alone costs more than all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.lab.sources.cross_validation import CrossValidation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNIFICANCE = 0.01
"""A difference that chance alone explains less often than this is taken for a real one."""
LEAST_PER_LABEL = 4
"""The first round has at least so many images of each label, where there are so many, whatever the time: with fewer,
heads that miss one of them are wrong about it more often than chance, whichever the network."""
PRIOR_IMAGES = 16
"""What is published of a network counts as much as so many images."""
DEAR = 0.5
"""A network that costs more than this share of what all in a round cost may leave for time although it is the first."""
PART = 0.5
"""A round takes at most so much of the time that is left, unless it is the last one."""


def stratified_order(labels: NDArray[np.intp], groups: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Return an order of all images of which every beginning has the labels in the proportions of the whole.

    The first `LEAST_PER_LABEL` images of each label come before all others, and the first image of each group of
    near duplicates before the second ones.

    Args:
        labels: (n,) from 0.
        groups: n ids; near duplicates have the same one.
        seed: Which of the many such orders.

    Returns:
        (n,) indices.
    """
    random = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members: dict[str, list[int]] = {}
        for index in np.flatnonzero(labels == label):
            members.setdefault(groups[int(index)], []).append(int(index))
        rows = [members[sorted(members)[int(place)]] for place in random.permutation(len(members))]
        dealt = [row[turn] for turn in range(max(map(len, rows))) for row in rows if turn < len(row)]
        for place, dealt_index in enumerate(dealt):
            early = place < LEAST_PER_LABEL
            position[dealt_index] = (place - LEAST_PER_LABEL) if early else (place + random.random()) / len(dealt)
    return np.argsort(position, kind="stable")


def is_surely_worse(correct: NDArray[np.bool_], best: NDArray[np.bool_]) -> bool:
    """Tell whether a network is worse than another one by more than chance explains: exact one-sided McNemar test.

    Only the m images on which exactly one of the two is right tell them apart; were both equally good, the number that
    this one loses would be Binomial(m, ½) (Dietterich 1998, "Approximate statistical tests for comparing supervised
    classification learning algorithms").

    Args:
        correct: (n,) whether it is right about each image.
        best: (n,) whether the other one is, about the same images.
    """
    lost, differing = int(np.count_nonzero(best & ~correct)), int(np.count_nonzero(best != correct))
    tail = sum(math.comb(differing, wins) for wins in range(lost, differing + 1))
    return bool(tail < SIGNIFICANCE * 2**differing)


@dataclass(frozen=True)
class Contender:
    """A network after a round.

    Attributes:
        measured: Its cross-validated heads on the images of the round, in the same order for all contenders.
        merit: What it is ranked by; see `merits`.
        cost_s: What one more image costs, seconds.
    """

    measured: CrossValidation
    merit: float
    cost_s: float


def merits(measured: Sequence[CrossValidation], priors: Sequence[float | None]) -> list[float]:
    """Return what networks are ranked by: the mean probability that their heads give the right label.

    On a few images this says earlier which network is better than the share of right answers does. What is published
    counts as much as `PRIOR_IMAGES` images, among the networks of which anything is published: on these a network would
    be better than their mean by as much as its top-1 is above the mean of theirs.

    Args:
        measured: The cross-validations of the same images.
        priors: The published top-1 of each network on ImageNet, 0..1, where it was trained on it and that is known.
    """
    found = [float(one.likelihood.mean()) for one in measured]
    known = [place for place, prior in enumerate(priors) if prior is not None]
    typical = sum(found[place] for place in known) / max(len(known), 1)
    published = sum(prior for prior in priors if prior is not None) / max(len(known), 1)
    weight = PRIOR_IMAGES / (len(measured[0].likelihood) + PRIOR_IMAGES)
    # Written as a difference, which is exactly 0 for a network that is alone with its top-1: it says nothing then.
    return [
        one if prior is None else one + weight * ((typical - one) + (prior - published))
        for one, prior in zip(found, priors, strict=True)
    ]


@dataclass(frozen=True)
class Plan:
    """What comes next.

    Attributes:
        stay: Places of those that go on, the best first; one alone has won.
        worse: Places of those that are surely worse than the first.
        slow: Places of those that leave because there is no time for all.
        images: How many images those that go on will have seen after the next round; as many as they have seen already
            where nothing is left to see, or no time.
    """

    stay: tuple[int, ...]
    worse: tuple[int, ...]
    slow: tuple[int, ...]
    images: int


def plan(contenders: Sequence[Contender], *, total: int, left_s: float) -> Plan:
    """Decide who goes on, and to how many images.

    Args:
        contenders: Those that took part in the round that has ended.
        total: How many images there are.
        left_s: Time that may still be spent, seconds.
    """
    seen = len(contenders[0].measured.correct)
    ranked = sorted(range(len(contenders)), key=lambda place: (-contenders[place].merit, place))
    best = contenders[ranked[0]]
    worse = tuple(
        place for place in ranked[1:] if is_surely_worse(contenders[place].measured.correct, best.measured.correct)
    )
    stay = [place for place in ranked if place not in worse]
    if len(stay) < 2 or seen >= total:
        return Plan(tuple(stay), worse, (), seen)
    wanted = min(2 * seen, total)
    part_s = left_s if wanted == total else PART * left_s
    slow: list[int] = []
    dear_s = DEAR * sum(contenders[place].cost_s for place in stay)
    kept = next(place for place in stay if contenders[place].cost_s <= dear_s)  # no two cost more than half each
    while len(stay) > 2 and (wanted - seen) * sum(contenders[place].cost_s for place in stay) > part_s:
        chances = [chance(contenders[place], contenders[stay[0] if place != stay[0] else stay[1]]) for place in stay]
        _, out = min(
            (likely / contenders[place].cost_s, place)
            for likely, place in zip(chances, stay, strict=True)
            if place != kept
        )
        stay.remove(out)
        slow.append(out)
    cost_s = sum(contenders[place].cost_s for place in stay)
    images = wanted if cost_s * (wanted - seen) <= left_s else seen + int(max(left_s, 0.0) / cost_s)
    return Plan(tuple(stay), worse, tuple(slow), images)


def chance(contender: Contender, other: Contender) -> float:
    """Return how likely it is to be better than another one, by the normal approximation of the paired difference."""
    difference = other.measured.likelihood - contender.measured.likelihood
    error = max(float(difference.std(ddof=1)), 0.05) / math.sqrt(len(difference)) if len(difference) > 1 else 1.0
    return 0.5 * math.erfc((other.merit - contender.merit) / (error * math.sqrt(2))) + 1e-12
