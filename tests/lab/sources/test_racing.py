"""Who stays in a race, decided on made-up rounds."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from edged.lab.sources.cross_validation import CrossValidation
from edged.lab.sources.racing import Contender, chance, is_surely_worse, merits, plan, stratified_order


def measured(right: int, of: int = 40) -> CrossValidation:
    """Heads that are right about the first `right` images, and as sure of these as of the others wrong."""
    correct = np.arange(of) < right
    return CrossValidation(correct, np.where(correct, 0.9, 0.1))


def contender(right: int, *, cost_s: float = 0.01) -> Contender:
    found = measured(right)
    return Contender(found, float(found.likelihood.mean()), cost_s)


def test_every_beginning_has_the_labels_in_proportion():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = stratified_order(labels, [str(number) for number in range(100)], seed=1)
    assert sorted(order) == list(range(100))
    assert np.bincount(labels[order[:12]]).tolist() == [4, 4, 4]
    for size in (20, 50, 80):
        share = np.bincount(labels[order[:size]]) / size
        assert np.abs(share - [0.6, 0.3, 0.1]).max() < 0.12
    assert not np.array_equal(order, stratified_order(labels, [str(number) for number in range(100)], seed=2))


def test_near_duplicates_come_after_other_scenes():
    labels = np.zeros(20, np.intp)
    groups = ["burst"] * 10 + [str(number) for number in range(10)]
    order = stratified_order(labels, groups, seed=0)
    assert sum(groups[image] == "burst" for image in order[:11]) == 1


@pytest.mark.parametrize(("lost", "won", "worse"), [(6, 0, False), (7, 0, True), (12, 2, True), (8, 4, False)])
def test_worse_is_what_chance_explains_in_less_than_one_of_a_hundred(lost, won, worse):
    # P(Binomial(6, ½) = 6) = 1.6 %, P(Binomial(7, ½) = 7) = 0.8 %, P(Binomial(14, ½) ≥ 12) = 0.6 %
    best = np.array([True] * lost + [False] * won + [True] * 30)
    other = np.array([False] * lost + [True] * won + [True] * 30)
    assert is_surely_worse(other, best) is worse
    assert not is_surely_worse(best, best)


def test_the_surely_worse_leave_and_the_others_see_twice_as_many():
    what = plan([contender(20), contender(36), contender(35)], total=200, left_s=100.0)
    assert what.stay == (1, 2)
    assert what.worse == (0,)
    assert what.slow == ()
    assert what.images == 80


def test_where_time_is_short_the_dear_one_leaves_first():
    entrants = [contender(36), contender(34, cost_s=1.0), contender(34), contender(33)]
    what = plan(entrants, total=200, left_s=4.0)
    assert what.slow == (1,)
    assert what.stay == (0, 2, 3)


def test_no_round_takes_more_time_than_is_left():
    for left_s in (0.0, 0.05, 0.3, 2.0):
        what = plan([contender(36), contender(35)], total=200, left_s=left_s)
        assert (what.images - 40) * 0.02 <= left_s
    assert plan([contender(36), contender(35)], total=200, left_s=0.0).images == 40
    assert plan([contender(36), contender(35)], total=40, left_s=9.0).images == 40


def test_what_is_published_decides_between_few_images_and_not_between_many():
    few = merits([measured(5, 6), measured(4, 6)], [0.4, 0.8])
    many = merits([measured(150, 180), measured(120, 180)], [0.4, 0.8])
    assert few[0] < few[1]
    assert many[0] > many[1]


def test_without_anything_published_only_the_images_count():
    found = [measured(30), measured(20)]
    assert merits(found, [None, None]) == [float(one.likelihood.mean()) for one in found]
    assert merits([*found, measured(25)], [None, None, 0.9])[:2] == merits(found, [None, None])


def test_the_first_one_stays_unless_it_costs_more_than_all_others():
    cheap = plan([contender(36, cost_s=0.02), contender(34), contender(34), contender(33)], total=200, left_s=1.0)
    assert cheap.stay[0] == 0
    dear = plan([contender(36, cost_s=1.0), contender(35), contender(34), contender(33)], total=200, left_s=3.0)
    assert 0 in dear.slow
    assert dear.stay[0] == 1


def test_one_published_top1_alone_changes_nothing():
    found = [CrossValidation(one.correct, one.likelihood / 3) for one in (measured(7, 11), measured(7, 11))]
    for prior in (0.413, 0.713):
        assert len(set(merits(found, [prior, None]))) == 1


def test_merits_by_hand():
    """16 images count as much as what is published: the mean of both networks is 0.6 in likelihood and in top-1."""
    found = [CrossValidation(np.ones(16, bool), np.full(16, mean)) for mean in (0.7, 0.5, 0.65)]
    assert merits(found, [0.4, 0.8, None]) == pytest.approx([0.7 - 0.5 * 0.3, 0.5 + 0.5 * 0.3, 0.65])


def test_the_chance_to_win_by_hand():
    mine, others = np.array([0.9, 0.2, 0.6, 0.8]), np.array([0.7, 0.6, 0.9, 0.7])
    one, two = (Contender(CrossValidation(each > 0.5, each), 0.6 + each.mean() / 10, 1.0) for each in (mine, others))
    error = np.std(others - mine, ddof=1) / 2
    assert chance(one, two) == pytest.approx(1 - NormalDist().cdf((two.merit - one.merit) / error))
    assert chance(two, one) == pytest.approx(1 - chance(one, two))
    alike = Contender(two.measured, two.merit - 0.02, 1.0)
    assert chance(alike, two) == pytest.approx(NormalDist().cdf(-0.02 / (0.05 / 2))), "chance is never ruled out"
    first = CrossValidation(np.ones(1, bool), np.ones(1))
    assert chance(Contender(first, 0.0, 1.0), Contender(first, 0.5, 1.0)) == pytest.approx(NormalDist().cdf(-0.5))


def test_whoever_is_alone_has_won_and_sees_no_more():
    what = plan([contender(20), contender(36)], total=200, left_s=100.0)
    assert (what.stay, what.worse, what.images) == ((1,), (0,), 40)


def test_worse_is_said_of_those_that_are_worse_than_the_first():
    what = plan([contender(36), contender(30), contender(27)], total=200, left_s=100.0)
    assert (what.stay, what.worse) == ((0, 1), (2,))


def test_a_round_takes_half_of_the_time_that_is_left_and_the_last_one_all_of_it():
    entrants = [contender(right, cost_s=0.5) for right in (36, 35, 34)]
    assert plan(entrants, total=200, left_s=120.0).slow == (), "40 more images for three at half a second: 60 s"
    what = plan(entrants, total=200, left_s=119.0)
    assert (what.stay, what.slow, what.images) == ((0, 1), (2,), 80)
    assert plan(entrants, total=80, left_s=60.0).slow == ()
    assert plan(entrants, total=80, left_s=59.0).slow == (2,)


def test_half_of_what_all_cost_is_not_too_dear_for_the_first():
    what = plan(
        [contender(36, cost_s=2.0), contender(35, cost_s=1.0), contender(34, cost_s=1.0)], total=200, left_s=9.0
    )
    assert what.stay == (0, 1)
    what = plan(
        [contender(36, cost_s=2.1), contender(35, cost_s=1.0), contender(34, cost_s=1.0)], total=200, left_s=9.0
    )
    assert 1 in what.stay


def test_two_see_what_there_is_time_for():
    pair = [contender(36, cost_s=0.25), contender(35, cost_s=0.25)]
    for left_s, images in ((20.0, 80), (100.0, 80), (12.6, 65), (-1.0, 40)):
        assert plan(pair, total=200, left_s=left_s).images == images


def test_who_leaves_is_least_likely_to_win_for_what_it_costs():
    """Chances to beat the first: about 0.24 and 0.03; for the first itself, to beat the second."""
    entrants = [contender(36, cost_s=0.1), contender(35, cost_s=0.1), contender(33, cost_s=0.1)]
    likely = [chance(entrants[0], entrants[1]), chance(entrants[1], entrants[0]), chance(entrants[2], entrants[0])]
    assert likely == sorted(likely, reverse=True)
    assert plan(entrants, total=200, left_s=20.0).slow == (2,)
    cost_s = 0.1 * 0.9 * likely[2] / likely[1]  # a little less than makes both alike
    cheap = Contender(entrants[2].measured, entrants[2].merit, cost_s)
    assert plan([*entrants[:2], cheap], total=200, left_s=15.0).slow == (1,)
