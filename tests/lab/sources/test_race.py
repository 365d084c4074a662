"""A race of made networks on a clock that only their passes move."""

from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ImageError
from edged.lab.sources.race import SHARE, race
from edged.vision.quantization import Affine

IMAGES, LABELS = 300, 3


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Made:
    """A network whose bottlenecks lie around the mean of their label, more or less far from it."""

    affine = Affine(0.02, 0)

    def __init__(
        self, clock: Clock, noise: float, cost_s: float, *, prior: float | None = None, lost: tuple = ()
    ) -> None:
        means = np.random.default_rng(5).integers(80, 176, (LABELS, 16))
        random = np.random.default_rng([7, int(noise)])
        self._features = np.clip(means[labels()] + random.normal(0, noise, (IMAGES, 16)), 0, 255).astype(np.uint8)
        self._clock, self._cost_s, self.prior, self._lost = clock, cost_s, prior, lost
        self.seen: list[int] = []

    def look(self, images):
        self._clock.now += self._cost_s * len(images)
        self.seen += [int(image) for image in images]
        return np.array([image for image in images if image in self._lost], np.intp)

    def features(self, images):
        return self._features[images]


def labels():
    return np.arange(IMAGES) % LABELS


def groups():
    return [str(number) for number in range(IMAGES)]


def test_the_best_one_wins_in_a_quarter_of_the_time():
    clock = Clock()
    runners = [Made(clock, noise, 0.01) for noise in (130, 70, 65, 160, 200, 250)]
    run = race(runners, labels(), groups(), clock=clock)
    assert run.places[0].runner in (1, 2)
    assert run.seconds <= SHARE * run.exact_s
    assert run.exact_s == pytest.approx(6 * IMAGES * 0.01, rel=0.05)
    assert {place.runner for place in run.places} == set(range(6))
    assert {place.left for place in run.places[1:]} >= {"worse"}
    assert run.rounds > 1
    for runner in runners:
        assert len(runner.seen) == len(set(runner.seen)) <= IMAGES, "no image passes twice"
    assert len(runners[run.places[0].runner].seen) > len(runners[5].seen)


def test_a_dear_network_sees_few_images_where_cheap_ones_are_better():
    clock = Clock()
    runners = [Made(clock, 90, 1.0), Made(clock, 60, 0.01), Made(clock, 70, 0.01), Made(clock, 75, 0.01)]
    run = race(runners, labels(), groups(), clock=clock)
    assert run.seconds <= SHARE * run.exact_s
    assert run.places[0].runner != 0
    assert len(runners[0].seen) < len(runners[1].seen)


def test_unreadable_images_take_no_part():
    clock = Clock()
    lost = tuple(range(0, IMAGES, 2))
    runners = [Made(clock, noise, 0.01, lost=lost) for noise in (60, 80)]
    run = race(runners, labels(), groups(), clock=clock)
    assert run.unreadable
    assert run.unreadable <= set(lost)
    assert len({place.measured.correct.shape for place in run.places if place.left is None}) == 1
    with pytest.raises(ImageError, match="none of the labeled images can be read"):
        race([Made(Clock(), 60, 0.01, lost=tuple(range(IMAGES)))] * 2, labels(), groups(), clock=Clock())


def test_an_image_that_goes_while_the_race_runs_counts_for_nobody():
    clock = Clock()
    runners = [Made(clock, 60, 0.01), Made(clock, 80, 0.01, lost=(0, 1, 2, 3, 4, 5))]
    run = race(runners, labels(), groups(), clock=clock)
    assert run.unreadable <= {0, 1, 2, 3, 4, 5}
    assert len(runners[0].seen) == len(set(runners[0].seen))
    together = [place.measured.correct for place in run.places if place.rounds == run.rounds]
    assert len({len(one) for one in together}) == 1
