import numpy as np
import pytest

from edged.selection.cascade import Cascade, Stage
from edged.selection.confidence import confidence, evidence, margin, pool
from tests.lab.selection.synthetic import measurements


def test_the_pool_is_a_weighted_geometric_mean():
    p, q = np.array([[0.7, 0.2, 0.1]], np.float32), np.array([[0.2, 0.6, 0.2]], np.float32)
    expected = p**0.5 * q**1.5
    assert pool([p, q], [0.5, 1.5]) == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert pool([p, q], [1.0, 0.0]) == pytest.approx(p, rel=1e-5)
    assert pool([p], [1.0]) is p


def test_confidence_of_sure_and_unsure():
    sure, unsure = np.array([[0.98, 0.01, 0.01]], np.float32), np.full((1, 3), 1 / 3, np.float32)
    assert margin(sure)[0] == pytest.approx(0.97)
    assert margin(unsure)[0] == pytest.approx(0, abs=1e-6)
    assert confidence(unsure)[0, 4] == pytest.approx(np.log(3), rel=1e-5)  # entropy
    assert confidence(sure)[0, 0] > confidence(unsure)[0, 0]


def test_one_class_or_two_are_classes_too():
    assert np.isfinite(confidence(np.ones((2, 1), np.float32))).all()
    assert margin(np.ones((2, 1), np.float32)).tolist() == [1, 1]
    assert np.isfinite(confidence(np.array([[1.0, 0.0]], np.float32))).all()


def test_evidence_of_a_batch_is_that_of_each_photo():
    scores = list(measurements(20).scores)
    together = evidence(scores, pool(scores, [1, 1, 1]))
    for photo in range(3):
        own = [each[photo : photo + 1] for each in scores]
        assert evidence(own, pool(own, [1, 1, 1]))[0] == pytest.approx(together[photo], abs=1e-4)


def test_a_cascade_runs_no_more_networks_than_it_needs():
    sure, unsure = np.array([0.95, 0.05], np.float32), np.array([0.4, 0.6], np.float32)
    cascade = Cascade((Stage(0, (1.0,)), Stage(2, (0.0, 1.0))), ((0.5,), (np.inf,), (-1.0,)), 0)
    for first, point, networks in ((sure, 0, [0]), (unsure, 0, [0, 2]), (unsure, 1, [0]), (sure, 2, [0, 2])):
        ran = []

        def run(network, first=first, ran=ran):
            ran.append(network)
            return first if network == 0 else sure

        scores, answered = cascade.classify(run, point)
        assert ran == networks
        assert answered == networks[-1]
        assert scores.tolist() == (first if networks == [0] else sure).tolist()
