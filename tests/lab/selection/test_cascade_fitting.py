import numpy as np
import pytest

from edged.lab.selection.cascade_fitting import (
    ACCURATE_LEVEL,
    DEFAULT_LEVEL,
    LEVELS,
    Answers,
    fit_cascade,
    pool_weights,
)
from edged.lab.selection.evaluation import Played, paired_difference, play
from edged.lab.selection.measurements import folds
from edged.selection.cascade import Cascade, Stage
from edged.selection.confidence import pool
from edged.selection.strategy import ByCascade
from tests.lab.selection.synthetic import COSTS_MS, measurements


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
