import numpy as np
import pytest

from edged.lab.selection.cascade_fitting import (
    LEVELS,
    accuracy_and_cost,
    fit_cascade,
    fit_logistic,
    pool_weights,
    search,
)
from edged.lab.selection.evaluation import Played, play
from edged.lab.selection.measurements import folds
from edged.selection.cascade import Cascade, Stage
from edged.selection.strategy import ByCascade
from tests.lab.selection.synthetic import COSTS_MS, measurements


def test_the_regression_finds_its_own_weights():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 2)).astype(np.float32)
    p = 1 / (1 + np.exp(-(1.5 * rows[:, 0] - 0.5 * rows[:, 1] - 1)))
    doubt = fit_logistic(rows, rng.random(4000) < p, 1e-4)
    assert doubt.weights == pytest.approx([1.5, -0.5], abs=0.15)
    assert doubt.bias == pytest.approx(-1, abs=0.15)
    assert doubt(rows) == pytest.approx(p, abs=0.05)


def test_a_network_that_is_never_wrong_is_not_doubted():
    rows = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    assert fit_logistic(rows, np.zeros(50, bool), 0.01)(rows).max() < 0.05


def test_better_networks_weigh_more():
    measured = measurements(800)
    small, large = pool_weights([measured.scores[0], measured.scores[2]], measured.classes)
    assert large > small >= 0


def test_outcomes_by_hand():
    doubts = [np.array([0.1, 0.6, 0.9], np.float32)]
    right = [np.array([True, False, False]), np.array([False, True, False])]
    assert accuracy_and_cost(doubts, right, [2.0, 30.0], [0.5]) == (pytest.approx(2 / 3), pytest.approx(22))
    assert accuracy_and_cost(doubts, right, [2.0, 30.0], [1.0]) == (pytest.approx(1 / 3), pytest.approx(2))


def test_the_search_keeps_to_the_budget_and_finds_what_is_there():
    doubts = [np.array([0.1, 0.6, 0.9, 0.2], np.float32)]
    right = [np.array([True, False, False, True]), np.array([False, True, False, True])]
    tight, enough, ample = search(doubts, right, [2.0, 30.0], [1.0, 17.0, 1000.0])
    assert accuracy_and_cost(doubts, right, [2.0, 30.0], tight)[1] == 2.0  # the first network always runs
    assert accuracy_and_cost(doubts, right, [2.0, 30.0], enough) == (0.75, 17.0)
    assert accuracy_and_cost(doubts, right, [2.0, 30.0], ample)[0] == 0.75


@pytest.mark.parametrize("learned", [False, True])
def test_a_fitted_cascade_is_cheaper_on_photos_that_it_never_saw(learned):
    measured = measurements(900)
    training, held_out = folds(len(measured), 3, 0)[0]
    cascade = fit_cascade(measured.take(training), learned=learned, decision_ms=0.1)
    test = measured.take(held_out)
    outcome = play(ByCascade(cascade), cascade.default, test, 0.1)
    assert cascade.stages[-1].network == 2
    assert len(cascade.thresholds) == len(LEVELS) + 1
    assert outcome.cost_ms.mean() < COSTS_MS[2]
    assert outcome.top1.mean() > test.top1[2] - 0.04


def test_every_network_that_runs_is_paid_for():
    measured = measurements(50)
    always = ByCascade(Cascade((Stage(0, (1.0,)), Stage(1, (0.0, 1.0))), ((-1.0,),), 0))
    outcome = play(always, 0, measured, 0.25)
    assert outcome.cost_ms == pytest.approx(np.full(50, 1 + 4 + 0.25))
    assert set(outcome.network.tolist()) == {1}
    assert outcome.top1.tolist() == measured.right[1].tolist()


def test_played_networks_add_up():
    look = Played(measurements(20), 3)
    look.run(0)
    look.run(2)
    assert (look.runs, look.network_ms) == (2, 41.0)
