"""A race of made networks on a clock that only their passes move."""

from __future__ import annotations

import numpy as np
import pytest

from edged.cli.sources import run as rank
from edged.errors import ImageError
from edged.lab.sources.cross_validation import cross_validate
from edged.lab.sources.race import FEW, LITTLE_S, SHARE, race
from edged.lab.sources.racing import stratified_order
from edged.vision.quantization import Affine

IMAGES, LABELS = 300, 3


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Made:
    """A network whose bottlenecks lie around the mean of their label, more or less far from it."""

    affine = Affine(0.02, 0)

    def __init__(
        self,
        clock: Clock,
        noise: float,
        cost_s: float,
        *,
        prior: float | None = None,
        lost: tuple = (),
        opening_s: float = 0.0,
        head_s: float = 0.0,
    ) -> None:
        means = np.random.default_rng(5).integers(80, 176, (LABELS, 16))
        random = np.random.default_rng([7, int(noise)])
        self._features = np.clip(means[labels()] + random.normal(0, noise, (IMAGES, 16)), 0, 255).astype(np.uint8)
        self._clock, self._cost_s, self.prior, self._lost = clock, cost_s, prior, lost
        self._opening_s, self._head_s = opening_s, head_s
        self.seen: list[int] = []

    def look(self, images):
        self._clock.now += self._cost_s * len(images) + (0.0 if self.seen else self._opening_s)
        self.seen += [int(image) for image in images]
        return np.array([image for image in images if image in self._lost], np.intp)

    def features(self, images):
        self._clock.now += self._head_s * len(images)  # heads are made of what is asked for here
        return self._features[images]


def labels():
    return np.arange(IMAGES) % LABELS


def groups():
    return [str(number) for number in range(IMAGES)]


def test_help_tells_how_few_images_are_seen_by_all_networks():
    assert f"fewer than {FEW} others are seen by all networks" in str(rank.__doc__)


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


def test_bottlenecks_that_are_kept_are_no_reason_to_decide_on_a_few_images():
    """A second race over the same images: only its heads take time, of which nobody knew before."""
    clock = Clock()
    runners = [Made(clock, noise, 1e-5, head_s=1e-3) for noise in (70, 75, 80, 85)]
    run = race(runners, labels(), groups(), clock=clock)
    assert run.seconds <= LITTLE_S
    assert len(run.places[0].measured.correct) == IMAGES
    slow = Clock()
    race([Made(slow, noise, 1e-5, head_s=0.1) for noise in (70, 75, 80, 85)], labels(), groups(), clock=slow)
    assert slow() < 3 * LITTLE_S, "it is no time without end"


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


PASS_S, OPENING_S, HEAD_S = (0.01, 0.02, 0.03, 0.04), 0.05, 0.001
NOISES = (130, 70, 160, 90)


def run_by_hand(dear=1.0, **how):
    """Let four networks race on a clock that does not begin at 0; return the race, the clock, and its progress.

    `dear`: their passes take so many times as long.
    """
    clock, told = Clock(50.0), []
    runners = [
        Made(clock, noise, dear * pass_s, opening_s=OPENING_S, head_s=HEAD_S)
        for noise, pass_s in zip(NOISES, PASS_S, strict=True)
    ]
    found = race(runners, labels(), groups(), clock=clock, progress=lambda part: told.append((part, clock.now)), **how)
    return found, clock, told


def test_a_race_accounts_for_all_its_time():
    run, clock, _ = run_by_hand()
    assert run.seconds == pytest.approx(clock.now - 50.0)
    assert sum(place.seconds for place in run.places) == pytest.approx(run.seconds)
    assert run.exact_s == pytest.approx(4 * OPENING_S + IMAGES * (sum(PASS_S) + 4 * HEAD_S))


def test_the_first_round_has_its_part_of_the_time():
    """Three images of each network tell what `exact` would cost, but not yet its heads: 30.2 s."""
    run, _, _ = run_by_hand()
    budget_s = 0.95 * 0.25 * (4 * OPENING_S + IMAGES * 0.1)
    used_s = 4 * OPENING_S + 3 * 0.1
    first = min(len(place.measured.correct) for place in run.places)
    assert first == int((0.4 * budget_s - used_s) / 0.1) + 2 == 25
    assert {place.rounds for place in run.places if len(place.measured.correct) == first} == {1}


def test_the_first_round_has_four_images_of_each_label_whatever_they_cost():
    run, _, told = run_by_hand(dear=100.0, share=0.001)
    assert {len(place.measured.correct) for place in run.places} == {4 * LABELS}
    assert run.rounds == 1
    assert {part for part, _ in told} == {1.0}


def test_progress_is_the_part_of_the_time_that_is_spent():
    _, _, told = run_by_hand()
    budget_s = 0.95 * 0.25 * (4 * OPENING_S + IMAGES * 0.1)
    assert [part for part, _ in told] == pytest.approx([min((now - 50.0) / budget_s, 1.0) for _, now in told])
    assert len(told) >= 4 + 2, "after each network in each round"
    assert told[0][0] < 0.5


def test_what_costs_nothing_is_seen_by_all():
    clock, told = Clock(), []
    runners = [Made(clock, noise, 0.0) for noise in (60, 90)]
    run = race(runners, labels(), groups(), clock=clock, progress=told.append)
    assert {len(place.measured.correct) for place in run.places} == {IMAGES}
    assert told == [0.0, 0.0]


def test_rounds_are_counted_from_one_and_the_better_come_first_in_each():
    clock = Clock()
    run = race([Made(clock, noise, 0.01) for noise in (700, 40, 500, 45, 600)], labels(), groups(), clock=clock)
    assert {place.rounds for place in run.places} <= set(range(1, run.rounds + 1))
    assert min(place.rounds for place in run.places) == 1
    assert [place.rounds for place in run.places] == sorted((place.rounds for place in run.places), reverse=True)
    assert sum(place.rounds == 1 for place in run.places) > 1, "or the next line says nothing"
    for number in range(1, run.rounds + 1):
        merits = [place.merit for place in run.places if place.rounds == number]
        assert merits == sorted(merits, reverse=True)


def test_the_seed_is_that_of_the_order_the_folds_and_the_heads():
    run, _, _ = run_by_hand(seed=5)
    place = run.places[0]
    images = stratified_order(labels(), groups(), 5)[: len(place.measured.correct)]
    made = Made(Clock(), NOISES[place.runner], 0.0)
    expected = cross_validate(
        made.features(images), labels()[images], [str(image) for image in images], classes=LABELS, affine=made.affine,
        seed=5,
    )  # fmt: skip
    assert np.array_equal(place.measured.likelihood, expected.likelihood)
    unsaid, nought = run_by_hand()[0], run_by_hand(seed=0)[0]
    assert np.array_equal(unsaid.places[0].measured.likelihood, nought.places[0].measured.likelihood)
