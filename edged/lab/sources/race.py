"""A race of networks over labeled images: rounds in which fewer networks see more images.

`racing` decides; here images pass, heads are cross-validated, and the clock that is handed in is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from edged.errors import ImageError
from edged.lab.sources.cross_validation import CrossValidation, cross_validate
from edged.lab.sources.racing import LEAST_PER_LABEL, Contender, merits, plan, stratified_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.softmax_regression import Features
    from edged.vision.quantization import Affine

SHARE = 0.25
"""Of the time that cross-validating every network on all images would take, a race takes at most so much, unless the
images are so few that its first round alone takes more, or that it takes no more than `LITTLE_S`."""
FEW = 200
"""With fewer images there is no race: every network sees all of them. On the develop side of the photos half of the
images in every network left a mean regret of 2.1 ± 0.7 points on sets of 143 to 160, and 0.5 ± 0.1 on sets of 300 to
333: a quarter of the time cannot know it on the former, and all of it is not long."""
LITTLE_S = 4.0
"""A race may take so many seconds whatever its share is. Where bottlenecks are kept from an earlier one passes cost
nothing, so that a part of their time is none, and the fewest images of a first round would decide."""
_AIM = 0.95
"""So much of the share is planned with: what a pass costs is an estimate from few images."""
_FIRST = 0.4
"""So much of the time is for the first round, where all take part; it may take more, see `LEAST_PER_LABEL`."""
_WARM_UP = 2
"""Images that tell what a pass costs, before the first round is planned."""


class Runner(Protocol):
    """A network in a race. What it does with images takes time on the race's clock."""

    @property
    def prior(self) -> float | None:
        """Its published top-1 on ImageNet, 0..1; None where it was not trained on ImageNet, or that is not known."""

    @property
    def affine(self) -> Affine:
        """Scale and zero point of its bottlenecks."""

    def look(self, images: NDArray[np.intp]) -> NDArray[np.intp]:
        """Open the network if need be and pass images through it; return those that cannot be read."""

    def features(self, images: NDArray[np.intp]) -> Features:
        """Return the bottlenecks of images that have passed: (n, d)."""


@dataclass(frozen=True)
class Place:
    """How a network has ended.

    Attributes:
        runner: Which, by its place among those that were handed in.
        measured: Its cross-validated heads on the images of its last round.
        merit: What it was ranked by there; see `racing.merits`.
        rounds: How many rounds it took part in.
        left: Why it was taken out: "worse": surely worse than the first on the same images; "time": least likely to win
            for what its passes cost. None: it was there until the end.
        seconds: Time that its passes and heads took.
    """

    runner: int
    measured: CrossValidation
    merit: float
    rounds: int
    left: Literal["worse", "time"] | None
    seconds: float


@dataclass(frozen=True)
class Race:
    """What a race has shown.

    Attributes:
        places: All networks: those that were there until the end, the best first; before them in time, so behind them
            here, those of each earlier round.
        rounds: How many there were.
        unreadable: Images that could not be read.
        seconds: Time that it took.
        exact_s: Time that cross-validating all networks on all images would take, by the same clock: an estimate from
            the passes and heads of each.
    """

    places: tuple[Place, ...]
    rounds: int
    unreadable: frozenset[int]
    seconds: float
    exact_s: float


def race(
    runners: Sequence[Runner],
    labels: NDArray[np.intp],
    groups: Sequence[str],
    *,
    clock: Callable[[], float],
    share: float = SHARE,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Race:
    """Let networks race.

    Args:
        runners: At least two networks.
        labels: (n,) from 0, of all images.
        groups: n ids; images with the same one (near duplicates) are never on both sides of a fold.
        clock: Returns seconds since any time.
        share: See `SHARE`.
        seed: Of the order of the images, of the folds and of the heads.
        progress: Told how much of the time is spent, 0..1, whenever a network has seen its images.

    Raises:
        ImageError: No image can be read.
        TrainingError: The images allow no training.
        EdgedError: A network fails.
    """
    return _Race(runners, labels, groups, clock, seed, progress).run(share)


class _Race:
    """The state of one race; used once."""

    def __init__(
        self,
        runners: Sequence[Runner],
        labels: NDArray[np.intp],
        groups: Sequence[str],
        clock: Callable[[], float],
        seed: int,
        progress: Callable[[float], None],
    ) -> None:
        self._runners, self._labels, self._groups = runners, labels, groups
        self._clock, self._seed, self._progress = clock, seed, progress
        self._budget_s = LITTLE_S
        self._order = stratified_order(labels, groups, seed)
        self._unreadable: set[int] = set()
        self._began = clock()
        self._opening_s = [0.0] * len(runners)  # the first passes, with what has to be set up for them
        self._pass_s = [0.0] * len(runners)
        self._head_s = [0.0] * len(runners)  # both per image
        self._spent_s = [0.0] * len(runners)
        self._seen: list[set[int]] = [set() for _ in runners]

    def run(self, share: float) -> Race:
        """Go through the rounds."""
        alive = list(range(len(self._runners)))
        for runner in alive:
            self._warm_up(runner)
        share_s = _AIM * share * self._exact_s()
        self._budget_s = budget_s = max(share_s, LITTLE_S)
        seen, number = self._first(share_s), 0
        places: list[Place] = []
        while True:
            number += 1
            measured = self._measure_all(alive, seen)
            ranked_by = merits(measured, [self._runners[runner].prior for runner in alive])
            costs_s = [self._cost_s(runner) for runner in alive]
            contenders = [Contender(*one) for one in zip(measured, ranked_by, costs_s, strict=True)]
            what = plan(contenders, total=len(self._order), left_s=budget_s - self._used_s())

            ended = partial(self._places, alive, contenders, number)
            gone = ended(what.worse, "worse") + ended(what.slow, "time")
            places = [*sorted(gone, key=lambda one: -one.merit), *places]
            if len(what.stay) < 2 or what.images <= len(contenders[0].measured.correct):
                places = [*ended(what.stay, None), *places]
                return Race(tuple(places), number, frozenset(self._unreadable), self._used_s(), self._exact_s())
            alive, seen = [alive[one] for one in what.stay], what.images

    def _places(
        self,
        alive: Sequence[int],
        contenders: Sequence[Contender],
        rounds: int,
        who: Sequence[int],
        left: Literal["worse", "time"] | None,
    ) -> list[Place]:
        """Return how some of the contenders of a round have ended."""
        return [
            Place(alive[one], contenders[one].measured, contenders[one].merit, rounds, left, self._spent_s[alive[one]])
            for one in who
        ]

    # -- a round -------------------------------------------------------------------------------------------------------

    def _first(self, budget_s: float) -> int:
        """Return how many images the first round looks at: as its part of the time allows."""
        least = LEAST_PER_LABEL * len(np.unique(self._labels))
        one_s = sum(self._pass_s)
        fit = int((_FIRST * budget_s - self._used_s()) / one_s) + _WARM_UP if one_s > 0 else len(self._order)
        return min(len(self._order), max(least, fit))

    def _measure_all(self, alive: Sequence[int], count: int) -> list[CrossValidation]:
        """Measure networks on the same images: again, where one of them could not read what others had."""
        while True:
            total = len(self._order)
            measured = [self._measure(runner, count) for runner in alive]
            if len(self._order) == total:
                return measured

    def _measure(self, runner: int, count: int) -> CrossValidation:
        """Let a network look at the first so many images that can be read, and cross-validate heads on them."""
        began = self._clock()
        new = 0
        while missing := [image for image in self._order[:count] if int(image) not in self._seen[runner]]:
            self._look(runner, np.array(missing, np.intp))
            new += len(missing)
        passed = self._clock()
        if new:
            self._pass_s[runner] = (passed - began) / new
        images = self._order[:count]
        result = cross_validate(
            self._runners[runner].features(images),
            self._labels[images],
            [self._groups[image] for image in images],
            classes=int(self._labels.max()) + 1,
            affine=self._runners[runner].affine,
            seed=self._seed,
        )
        self._head_s[runner] = (self._clock() - passed) / len(images)
        self._spent_s[runner] += self._clock() - began
        self._progress(min(self._used_s() / self._budget_s, 1.0))
        return result

    def _warm_up(self, runner: int) -> None:
        began = self._clock()
        self._look(runner, self._order[:1])
        opened = self._clock()
        self._look(runner, self._order[1 : 1 + _WARM_UP])
        self._pass_s[runner] = (self._clock() - opened) / _WARM_UP
        self._opening_s[runner] = max(opened - began - self._pass_s[runner], 0.0)
        self._spent_s[runner] += self._clock() - began

    def _look(self, runner: int, images: NDArray[np.intp]) -> None:
        """Pass images through a network; those that cannot be read leave the race's order."""
        lost = self._runners[runner].look(images)
        self._seen[runner] |= {int(image) for image in images} - {int(image) for image in lost}
        if len(lost):
            self._unreadable |= {int(image) for image in lost}
            self._order = self._order[~np.isin(self._order, lost)]
            if len(self._order) == 0:
                raise ImageError("none of the labeled images can be read")

    # -- time ----------------------------------------------------------------------------------------------------------

    def _used_s(self) -> float:
        return self._clock() - self._began

    def _cost_s(self, runner: int) -> float:
        """Return what one more image costs a network: its pass, and its part of the heads."""
        return self._pass_s[runner] + self._head_s[runner]

    def _exact_s(self) -> float:
        runners = range(len(self._runners))
        return sum(self._opening_s[one] + len(self._order) * self._cost_s(one) for one in runners)
