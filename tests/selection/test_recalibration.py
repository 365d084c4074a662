"""Doubts that follow the camera without labels: on answers made to be too sure, and on made networks in full."""

from dataclasses import replace

import numpy as np
import pytest

from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import play
from edged.selection.cascade import Cascade, Stage, Steps
from edged.selection.confidence import pool
from edged.selection.recalibration import Recalibration, doubts_of, effort
from edged.selection.strategy import ByCascade
from tests.lab.selection.synthetic import measurements


def recalibrated(cascade: Cascade, scores: np.ndarray) -> Recalibration:
    """Audit every photo of (networks, photos, classes)."""
    found = Recalibration(cascade)
    for photo in range(scores.shape[1]):
        found.audit(cascade.classify(lambda network, photo=photo: scores[network, photo], -1.0))
    return found


def test_doubts_of_answers_by_hand():
    first, both = np.array([[0.7, 0.3]], np.float32), np.array([[0.4, 0.6]], np.float32)
    own, together = doubts_of([first, both])
    assert own == pytest.approx(np.array([[0.3]]))
    assert together == pytest.approx(np.array([[0.6]]))
    second = np.array([[0.2, 0.8]], np.float32)
    own, together = doubts_of([first, second, both])
    assert own == pytest.approx(np.array([[0.3], [0.2]]))
    assert together == pytest.approx(np.array([[0.6], [0.4]])), "the last answer is that of all"


def test_effort_by_hand():
    prices, costs = np.array([[0.2, 0.5, 0.9], [0.9, 0.5, 0.1]]), np.array([0.1, 1.0])
    assert effort(prices, costs, 0.4) == pytest.approx(2 / 3 * 0.1 + 1 / 3 * 1.0)
    assert effort(prices, costs, 0.5) == pytest.approx(1 / 3 * 0.1), "a price that is reached is not above"
    assert effort(prices, costs, -1.0) == pytest.approx(1.1)


def test_prices_rise_by_the_doubt_that_a_stage_lacks():
    """Ten audits beside a fit that counts as thirty, each stage for itself."""
    stages = (Stage(0, (1.0,), 0.5), Stage(1, (0.0, 1.0), 0.8), Stage(2, (0.0, 0.0, 1.0), 1.0))
    fitted = Cascade(stages, (0.3, -1.0), 0, 0, (0.4, 1.3), (0.3, 0.2), (1.2, 0.9))
    found = Recalibration(fitted)
    assert (found.factors, found.cascade) == ((1.0, 1.0), fitted)
    answers = tuple(np.array([each, 1 - each], np.float32) for each in (0.9, 0.6, 0.55))
    for _ in range(10):
        found.audit(Steps(answers, (0.0, 0.0, 0.0), 2))
    first = (10 * 0.45 + 30 * 0.3 * 1.2) / (10 * 0.1 + 30 * 0.3) / 1.2
    second = (10 * 0.45 + 30 * 0.2 * 0.9) / (10 * 0.4 + 30 * 0.2) / 0.9
    assert found.factors == pytest.approx((first, second))
    assert min(found.factors) > 1
    assert found.audits == 10
    assert [stage.next_cost for stage in found.cascade.stages] == pytest.approx([0.5 / first, 0.8 / second, 1.0])
    assert found.cascade.thresholds == fitted.thresholds
    modest = Recalibration(fitted)
    answers = tuple(np.array([each, 1 - each], np.float32) for each in (0.6, 0.6, 0.95))
    for _ in range(10):
        modest.audit(Steps(answers, (0.0, 0.0, 0.0), 2))
    assert modest.factors == (1.0, 1.0), "a stage that doubts too much is left alone"


def test_on_photos_like_those_of_the_fit_thresholds_stay():
    measured = measurements(1200)
    cascade = fit_cascade(measured.take(np.arange(600)), pooled=True, decision_ms=0.1)
    found = recalibrated(cascade, measured.scores[:, 600:])
    assert found.audits == 600
    assert found.factors == pytest.approx([1] * len(found.factors), abs=0.25)
    default = cascade.default
    assert found.cascade.thresholds[default] == pytest.approx(cascade.thresholds[default], rel=0.35)


def test_a_network_that_became_too_sure_is_asked_to_be_checked_more_often():
    """The cheap network is often wrong, and very sure, as behind a bad lens: more frames go on, without a label."""
    fit_to, run_on = measurements(800), measurements(800, seed=1)
    cascade = fit_cascade(fit_to, pooled=False, decision_ms=0.1)
    cheap = cascade.stages[0].network
    scores = run_on.scores.copy()
    scores[cheap] = pool([np.roll(scores[cheap], 1, axis=0)], [3.0])  # the answers of other photos, and very sure
    shifted = replace(run_on, scores=scores)
    found = recalibrated(cascade, scores[:, ::2])
    assert found.factors[0] > 2
    before = play(ByCascade(cascade), cascade.default, shifted, 0.1)
    after = play(ByCascade(found.cascade), cascade.default, shifted, 0.1)
    assert after.top1.mean() > before.top1.mean() + 0.05
    assert after.cost_ms.mean() > before.cost_ms.mean()


def test_on_pictures_that_look_easier_as_much_time_is_spent_as_was_fitted():
    """Fitted where every network is unsure, run where they are sure: without following, hardly any frame goes on."""
    dull, clear = measurements(800), measurements(800, seed=1)
    flat = pool([dull.scores.reshape(-1, 12)], [0.4]).reshape(dull.scores.shape)
    # As through a veil: the scores are flatter, and the cheap networks are more often wrong.
    cascade = fit_cascade(replace(dull, scores=flat), pooled=False, decision_ms=0.1)
    found = recalibrated(cascade, clear.scores[:, ::2])
    before = play(ByCascade(cascade), cascade.default, clear, 0.1)
    after = play(ByCascade(found.cascade), cascade.default, clear, 0.1)
    assert found.cascade.thresholds[cascade.default] <= cascade.thresholds[cascade.default]
    assert after.top1.mean() >= before.top1.mean()
    assert after.cost_ms.mean() >= before.cost_ms.mean()


def cascade_of_two(threshold: float, wanted: float) -> Cascade:
    stages = (Stage(0, (1.0,), 1.0), Stage(1, (0.0, 1.0), 1.0))
    return Cascade(stages, (np.inf, threshold, -1.0), 1, 1, (0.0, wanted, 1.0), (0.3,), (1.0,))


def steps(first: float, second: float) -> Steps:
    """Two stages that agree on class 0 with these probabilities."""
    answers = tuple(np.array([each, 1 - each], np.float32) for each in (first, second))
    return Steps(answers, (0.0, 0.0), 1)


def test_thresholds_fall_until_as_much_is_asked_as_was_fitted():
    found = Recalibration(cascade_of_two(0.35, wanted=0.25))
    doubts = np.random.default_rng(0).permutation(np.linspace(0.0, 0.2, 200))
    for audits, each in enumerate(doubts):
        found.audit(steps(1 - each, 1 - each))
        if audits + 1 < 50:
            assert found.cascade.thresholds == (np.inf, 0.35, -1.0)
        if audits + 1 == 50:
            assert found.cascade.thresholds[1] <= 0.2
    never, default, always = found.cascade.thresholds
    assert (never, always) == (np.inf, -1.0)
    assert 0.25 <= (doubts > default).mean() < 0.25 + 0.015
    every = Recalibration(cascade_of_two(0.35, wanted=1.0))
    for each in doubts:
        every.audit(steps(1 - each, 1 - each))
    assert every.cascade.thresholds == (np.inf, -1.0, -1.0), "all frames went on, and do again"


def test_effort_is_weighed_by_what_each_network_costs():
    """Three stages that doubt enough, so that their prices stay: 0.4 asks for as much here as was fitted."""
    stages = (Stage(0, (1.0,), 0.5), Stage(1, (0.0, 1.0), 0.8), Stage(2, (0.0, 0.0, 1.0), 1.0))
    costs = np.array([0.5, 0.8])
    doubts = np.random.default_rng(3).uniform(0.1, 0.6, (2, 120))
    prices = doubts / costs[:, None]
    wanted = effort(prices, costs, 0.4)
    found = Recalibration(Cascade(stages, (0.9,), 0, 0, (wanted,), (0.3, 0.3), (1.0, 1.0)))
    for first, second in doubts.T:
        answers = tuple(np.array([1 - each, each], np.float32) for each in (min(first, 0.49), min(second, 0.49), 0.01))
        found.audit(Steps(answers, (0.0, 0.0, 0.0), 2))
    assert found.factors == (1.0, 1.0)
    (threshold,) = found.cascade.thresholds
    assert threshold == pytest.approx(0.4, abs=0.02)


def test_thresholds_never_rise():
    found = Recalibration(cascade_of_two(0.1, wanted=0.25))
    for each in np.random.default_rng(0).permutation(np.linspace(0.0, 0.5, 200)):  # harder: most frames go on
        found.audit(steps(1 - each, 1 - each))
    assert found.cascade.thresholds[1] == 0.1


def test_what_was_seen_long_ago_is_forgotten():
    found = Recalibration(cascade_of_two(0.1, wanted=0.25))
    for _ in range(300):
        found.audit(steps(0.9, 0.2))
    assert found.factors[0] == 4, "a ratio of 6 is not trusted"
    for _ in range(399):
        found.audit(steps(0.9, 0.9))
    assert found.factors[0] > 1, "one of the 400 that are remembered"
    found.audit(steps(0.9, 0.9))
    assert found.factors[0] == 1
