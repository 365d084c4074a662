import numpy as np
import pytest

from edged.selection.cascade import Cascade, Stage
from edged.selection.confidence import doubt, pool
from edged.selection.strategy import ByCascade


def test_the_pool_is_a_weighted_geometric_mean():
    p, q = np.array([[0.7, 0.2, 0.1]], np.float32), np.array([[0.2, 0.6, 0.2]], np.float32)
    expected = p**0.5 * q**1.5
    assert pool([p, q], [0.5, 1.5]) == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert pool([p, q], [1.0, 0.0]) is p
    assert pool([p], [1.0]) is p


def test_a_weight_of_one_network_is_its_inverse_temperature():
    p = np.array([[0.7, 0.2, 0.1]], np.float32)
    assert pool([p], [2.0]) == pytest.approx(p**2 / (p**2).sum(), rel=1e-5)
    assert pool([np.array([[1.0, 0.0]], np.float32)], [0.5])[0, 1] == pytest.approx(0.01, rel=0.02)


def test_networks_that_contradict_each_other_leave_a_half_to_each():
    """However heavy their weights: the product of small numbers may leave the range of floats."""
    sure, other = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32), np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    both = pool([sure, other], [15.0, 15.0])
    assert both == pytest.approx(np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert pool([np.full((1, 3000), 1 / 3000, np.float32)], [30.0]) == pytest.approx(np.full((1, 3000), 1 / 3000))


def test_doubt_is_what_the_best_class_lacks():
    assert doubt(np.array([[0.98, 0.01, 0.01], [0.25, 0.35, 0.4]], np.float32)) == pytest.approx([0.02, 0.6])
    assert doubt(np.ones((2, 1), np.float32)).tolist() == [0, 0]


def test_a_cheap_network_is_asked_at_less_doubt():
    answer = np.array([[0.9, 0.1]], np.float32)
    assert Stage(0, (1.0,), 1.0).price(answer)[0] == pytest.approx(0.1)
    assert Stage(0, (1.0,), 0.125).price(answer)[0] == pytest.approx(0.8)


def test_each_stage_weighs_its_own_doubt_and_a_price_may_be_reached():
    answers = [np.array([p, 1 - p], np.float32) for p in (0.5, 0.75, 0.95)]
    stages = (Stage(0, (1.0,), 1.0), Stage(1, (0.0, 1.0), 1.0), Stage(2, (0.0, 0.0, 1.0), 1.0))
    cascade = Cascade(stages, (0.3,), 0, 0, (0.5,), (0.5, 0.25), (1.0, 1.0))
    assert cascade.classify(answers.__getitem__, 0.25).network == 1, "a price that is reached is not above"
    assert cascade.classify(answers.__getitem__, 0.2).network == 2
    assert cascade.classify(answers.__getitem__, 0.2).prices == pytest.approx((0.5, 0.25, 0.05))
    assert cascade.classify(answers.__getitem__, 0.5).network == 0


def test_a_cascade_runs_no_more_networks_than_it_needs():
    sure, unsure = np.array([0.95, 0.05], np.float32), np.array([0.4, 0.6], np.float32)
    stages = (Stage(0, (1.0,), 1.0), Stage(2, (0.0, 1.0), 1.0))
    cascade = Cascade(stages, (0.3, np.inf, -1.0), 0, 2, (0.5, 0.0, 1.0), (0.3,), (1.0,))
    for first, point, networks in ((sure, 0, [0]), (unsure, 0, [0, 2]), (unsure, 1, [0]), (sure, 2, [0, 2])):
        ran = []

        def run(network, first=first, ran=ran):
            ran.append(network)
            return first if network == 0 else sure

        steps = cascade.classify(run, cascade.thresholds[point])
        assert ran == networks
        assert steps.network == networks[-1]
        assert steps.answer.tolist() == (first if networks == [0] else sure).tolist()
        assert len(steps.answers) == len(steps.prices) == len(networks)
    strategy = ByCascade(cascade)
    assert (strategy.points, strategy.default, strategy.accurate, strategy.networks) == (3, 0, 2, (0, 2))
