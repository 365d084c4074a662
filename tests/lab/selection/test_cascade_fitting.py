from dataclasses import replace

import numpy as np
import pytest

from edged.lab.selection.cascade_fitting import (
    Answers,
    _Fitter,
    _point,
    fit_cascade,
    pool_weights,
)
from edged.lab.selection.evaluation import Played, paired_difference, play
from edged.lab.selection.measurements import folds
from edged.selection.cascade import Cascade, Stage
from edged.selection.confidence import pool
from edged.selection.strategy import ByCascade
from tests.lab.selection.synthetic import COSTS_MS, measurements

# What is promised; written down here too, so that it is not changed by a slip.
LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.36, 0.42, 0.5, 0.58, 0.66, 0.8)
DEFAULT_LEVEL, ACCURATE_LEVEL = 0.36, 0.5


def test_better_networks_weigh_more():
    measured = measurements(800)
    small, large = pool_weights([measured.scores[0], measured.scores[2]], measured.classes)
    assert large > small >= 0


def test_the_weight_of_one_network_makes_it_as_sure_as_it_is_right():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = np.array([rng.choice(5, p=each) for each in p])
    too_sure = pool([p.astype(np.float32)], [1.4])
    (weight,) = pool_weights([too_sure], classes)
    assert weight == pytest.approx(1 / 1.4, rel=0.1)
    assert pool([too_sure], [weight]).max(axis=1).mean() == pytest.approx(
        (too_sure.argmax(axis=1) == classes).mean(), abs=0.03
    )


def by_hand() -> Answers:
    """Four photos: the first network is right on two, the dear one on three."""
    return Answers(
        right=np.array([[True, False, False, True], [True, True, False, True]]),
        prices=np.array([[0.1, 0.6, 0.9, 0.2], [0.0, 0.0, 0.0, 0.0]], np.float32),
        log_likelihoods=np.zeros((2, 4)),
        costs_ms=np.array([2.0, 30.0]),
    )


def test_thresholds_keep_to_their_budget():
    answers = by_hand()
    tight, enough, ample = answers.thresholds([1.0, 17.0, 1000.0])
    assert answers.stopped(tight).tolist() == [0, 0, 0, 0]  # the first network always runs
    assert answers.mean_ms(answers.stopped(tight)) == 2.0
    assert answers.stopped(enough).tolist() == [0, 1, 1, 0]
    assert answers.mean_ms(answers.stopped(enough)) == 17.0
    assert answers.mean_ms(answers.stopped(ample)) > 17.0


@pytest.mark.parametrize("pooled", [False, True])
def test_a_fitted_cascade_is_cheaper_on_photos_that_it_never_saw(pooled):
    measured = measurements(900)
    training, held_out = folds(len(measured), 3, 0)[0]
    cascade = fit_cascade(measured.take(training), pooled=pooled, decision_ms=0.1)
    test = measured.take(held_out)
    outcome = play(ByCascade(cascade), cascade.default, test, 0.1)
    assert cascade.stages[-1].network == 2
    assert len(cascade.thresholds) == len(LEVELS) + 1
    assert cascade.default >= LEVELS.index(DEFAULT_LEVEL)
    assert cascade.accurate >= LEVELS.index(ACCURATE_LEVEL)
    assert outcome.cost_ms.mean() < COSTS_MS[2]
    assert outcome.top1.mean() > test.top1[2] - 0.04
    assert len(cascade.doubts) == len(cascade.understated) == len(cascade.stages) - 1
    if pooled:  # weights are fitted by likelihood, so each stage doubts as much as it should
        assert cascade.understated == pytest.approx([1] * len(cascade.understated), abs=0.3)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_cascade_that_runs_keeps_to_the_budgets_of_the_fit(pooled):
    measured = measurements(200)
    cascade = fit_cascade(measured, pooled=pooled, decision_ms=0.1)
    for point, share in enumerate(LEVELS):
        outcome = play(ByCascade(cascade), point, measured, 0.1)
        assert outcome.cost_ms.mean() <= max(share * COSTS_MS[2], COSTS_MS[cascade.stages[0].network] + 0.1) + 1e-6


def test_the_best_network_alone_is_a_cascade_too():
    measured = measurements(100)
    cheapest_is_best = type(measured)(**{**vars(measured), "scores": measured.scores[::-1]})
    cascade = fit_cascade(cheapest_is_best, pooled=True, decision_ms=0.1)
    assert [stage.network for stage in cascade.stages] == [0]
    outcome = play(ByCascade(cascade), cascade.default, cheapest_is_best, 0.1)
    assert outcome.top1.mean() == cheapest_is_best.top1[0]


def test_every_network_that_runs_is_paid_for():
    measured = measurements(50)
    stages = (Stage(0, (1.0,), 1.0), Stage(1, (0.0, 1.0), 1.0))
    always = ByCascade(Cascade(stages, (-1.0,), 0, 0, (1.0,), (0.1,), (1.0,)))
    outcome = play(always, 0, measured, 0.25)
    assert outcome.cost_ms == pytest.approx(np.full(50, 1 + 4 + 0.25))
    assert set(outcome.network.tolist()) == {1}
    assert outcome.top1.tolist() == measured.right[1].tolist()


def test_played_networks_add_up():
    look = Played(measurements(20), 3)
    look.run(0)
    look.run(2)
    assert (look.runs, look.network_ms) == (2, 41.0)


def test_the_paired_difference_by_hand():
    ours = np.array([True] * 6 + [False] * 4)
    single = np.array([True] * 3 + [False] * 3 + [True] + [False] * 3)
    found = paired_difference(ours, single)
    half = 1.96 * np.sqrt(4 - 4 / 10) / 10
    assert (found["gained"], found["lost"], found["difference"]) == (3, 1, 0.2)
    assert (found["low"], found["high"]) == (pytest.approx(0.2 - half, abs=1e-4), pytest.approx(0.2 + half, abs=1e-4))


def test_stopping_is_for_good_and_the_last_stage_always_answers():
    answers = replace(
        by_hand(),
        prices=np.array([[0.1, 0.6, 0.9, 0.5], [0.9, 0.9, 0.2, 0.5], [0.9, 0.9, 0.9, 0.9]], np.float32),
        costs_ms=np.array([2.0, 3.0, 30.0]),
    )
    assert answers.stopped(0.5).tolist() == [0, 2, 1, 0], "a price at the threshold does not ask"
    assert answers.stopped(-1.0).tolist() == [2, 2, 2, 2]
    assert answers.stopped(np.inf).tolist() == [0, 0, 0, 0]
    assert answers.mean_ms(np.array([0, 1, 2, 2])) == pytest.approx((2 + 5 + 35 + 35) / 4)


def test_the_least_threshold_within_a_budget_is_taken():
    answers = by_hand()
    costs = {0.1: 24.5, 0.2: 17.0, 0.6: 9.5, 0.9: 2.0}
    for threshold, ms in costs.items():
        assert answers.mean_ms(answers.stopped(threshold)) == pytest.approx(ms)
        (found,) = answers.thresholds([ms])
        assert answers.mean_ms(answers.stopped(found)) == pytest.approx(ms), "a budget is for spending"
        (less,) = answers.thresholds([ms - 0.1])
        assert answers.mean_ms(answers.stopped(less)) < max(ms, 2.1)
    assert answers.thresholds([1.9]) == [np.inf]
    alone = replace(answers, prices=answers.prices[:1], costs_ms=answers.costs_ms[:1])
    assert alone.thresholds([0.1, 100.0]) == [np.inf, np.inf]
    prices = np.array([[0.5, 0.5, 0.6, 0.6], [0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 0.0, 0.0]], np.float32)
    three = replace(answers, prices=prices, costs_ms=np.array([2.0, 3.0, 30.0]))
    (found,) = three.thresholds([20.0])
    assert three.stopped(found).tolist() == [1, 1, 2, 2], "the prices of all stages are tried"


def test_the_point_is_the_cheapest_that_is_as_accurate_and_not_before_the_least():
    assert _point([0.9, 0.8, 0.9, 0.95], 1, 0.9) == 2
    assert _point([0.9, 0.8, 0.9, 0.95], 0, 0.9) == 0
    assert _point([0.9, 0.8, 0.85, 0.7], 2, 0.89) == 0, "none is: the most accurate one"


def negative_log_likelihood(weights, scores, classes):
    logits = sum(weight * np.log(each.astype(np.float64)) for weight, each in zip(weights, scores, strict=True))
    logits -= logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(classes)), classes]))


@pytest.mark.parametrize("networks", [[0], [0, 1], [0, 2], [0, 1, 2]])
def test_no_other_weights_are_likelier(networks):
    measured = measurements(600)
    scores = [measured.scores[n] for n in networks]
    weights = np.array(pool_weights(scores, measured.classes))
    least = negative_log_likelihood(weights, scores, measured.classes)
    for place in range(len(networks)):
        for step in (-0.05, 0.05):
            other = weights.copy()
            other[place] = max(other[place] + step, 0.0)
            assert negative_log_likelihood(other, scores, measured.classes) >= least - 1e-6


def test_a_network_that_says_the_opposite_has_no_voice():
    measured = measurements(400)
    wrong = 1 / measured.scores[1]
    wrong /= wrong.sum(axis=1, keepdims=True)
    good, bad = pool_weights([measured.scores[2], wrong], measured.classes)
    assert bad == 0
    assert good == pytest.approx(pool_weights([measured.scores[2]], measured.classes)[0], rel=0.05)


def test_networks_that_are_all_worse_than_chance_have_equal_voices():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.3), 500).astype(np.float32) + 1e-4
    assert pool_weights([p, p[:, ::-1]], p.argmin(axis=1)) == (1.0, 1.0)


def test_of_many_photos_some_are_enough():
    measured = measurements(2400)
    some = pool_weights([measured.scores[0], measured.scores[2]], measured.classes)
    assert some == pool_weights([measured.scores[0][::3], measured.scores[2][::3]], measured.classes[::3])
    assert some == pytest.approx(pool_weights([measured.scores[0][1::3], measured.scores[2][1::3]],
                                              measured.classes[1::3]), rel=0.25)  # fmt: skip


@pytest.mark.parametrize("pooled", [False, True])
def test_stages_say_what_their_networks_say_and_cost_what_they_cost(pooled):
    measured = measurements(300)
    fitter = _Fitter(measured, pooled, 0.25)
    stages = fitter.stages((0, 1, 2))
    assert [stage.network for stage in stages] == [0, 1, 2]
    assert [stage.next_cost for stage in stages] == [4 / 40, 40 / 40, 1.0]
    answers, said = fitter.answers((0, 1, 2)), fitter.said((0, 1, 2))
    assert answers.costs_ms.tolist() == [1.25, 4.25, 40.0], "nothing is decided after the last one"
    for place, stage in enumerate(stages):
        expected = pool([measured.scores[n] for n in range(place + 1)], stage.weights)
        assert said[place] == pytest.approx(expected)
        assert answers.right[place].tolist() == (expected.argmax(axis=1) == measured.classes).tolist()
        assert answers.prices[place] == pytest.approx((1 - expected.max(axis=1)) / stage.next_cost, abs=1e-5)
        true = expected[np.arange(300), measured.classes]
        assert answers.log_likelihoods[place] == pytest.approx(np.log(np.maximum(true, 1e-4)), abs=1e-4)
        own = stage.weights[:-1]
        assert stage.weights[-1] > 0
        assert (not any(own)) if not pooled else len(own) == place


def test_a_chain_is_judged_by_its_likelihood_at_some_budgets_less_a_voice_each():
    measured = measurements(300)
    fitter = _Fitter(measured, True, 0.1)
    answers = fitter.answers((0, 2))
    reached = []
    for share in (0.25, 0.36, 0.5):
        (threshold,) = answers.thresholds([share * 40])
        reached.append(answers.log_likelihoods[answers.stopped(threshold), np.arange(300)].mean())
    assert fitter.judge((0, 2)) == pytest.approx(np.mean(reached) - 2 / 300)


def test_a_network_that_tells_nothing_is_left_out():
    measured = measurements(600)
    noise = np.random.default_rng(5).dirichlet(np.ones(12), 600).astype(np.float32)
    scores = measured.scores.copy()
    scores[1] = noise
    cascade = fit_cascade(replace(measured, scores=scores), pooled=True, decision_ms=0.1)
    assert [stage.network for stage in cascade.stages] == [0, 2]


def test_a_cascade_has_at_most_four_networks():
    """Six cheap networks err independently of each other, so that each further one would help."""
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=800)
    scores = []
    for bonus in (1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.6):
        logits = rng.normal(size=(800, 10))
        logits[np.arange(800), classes] += bonus
        scores.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    many = replace(
        measurements(800),
        networks=tuple("abcdefg"),
        scores=np.asarray(scores, np.float32),
        classes=classes,
        network_ms=np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 200.0]),
        memory_mb=np.ones(7),
    )
    assert many.best == 6
    networks = [stage.network for stage in fit_cascade(many, pooled=True, decision_ms=0.0).stages]
    assert len(networks) == 4
    assert networks == sorted(networks)
    assert networks[-1] == 6


@pytest.mark.parametrize("pooled", [False, True])
def test_the_points_of_a_cascade_are_those_of_its_answers(pooled):
    measured = measurements(300)
    cascade = fit_cascade(measured, pooled=pooled, decision_ms=0.1)
    chain = tuple(stage.network for stage in cascade.stages)
    answers = _Fitter(measured, pooled, 0.1).answers(chain)
    assert cascade.thresholds == (*answers.thresholds([share * 40.0 for share in LEVELS]), -1.0)
    top1 = [answers.right[answers.stopped(each), np.arange(300)].mean() for each in cascade.thresholds]
    best = measured.top1[2]
    for point, least in ((cascade.default, DEFAULT_LEVEL), (cascade.accurate, ACCURATE_LEVEL)):
        good = [place for place in range(LEVELS.index(least), len(top1)) if top1[place] >= best]
        assert point == (good[0] if good else int(np.argmax(top1)))
    asked = [[(answers.stopped(each) > stage).mean() for stage in range(len(chain) - 1)] for each in cascade.thresholds]
    next_costs = [stage.next_cost for stage in cascade.stages[:-1]]
    assert cascade.efforts == pytest.approx([np.dot(each, next_costs) for each in asked])
    said = _Fitter(measured, pooled, 0.1).said(chain)
    for place, each in enumerate(said[:-1]):
        own = 1 - each.max(axis=1)
        together = 1 - said[-1][np.arange(300), each.argmax(axis=1)]
        assert cascade.doubts[place] == pytest.approx(own.mean(), rel=1e-4)
        assert cascade.understated[place] == pytest.approx(together.sum() / own.sum(), rel=1e-4)
