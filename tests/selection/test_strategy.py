"""What a frame is run on, and what deciding costs."""

import numpy as np
import pytest

from edged.selection.cascade import Cascade, Stage
from edged.selection.features import FEATURES, GROUPS
from edged.selection.premodels import DecisionTree, ExpectedUtility, Premodel
from edged.selection.strategy import ByCascade, ByPremodel, Single, features_ms


class Frame:
    """Network n scores class n; the features are their places in the list of those that are asked for."""

    def run(self, network):
        return np.eye(4, dtype=np.float32)[network]

    def features(self, names):
        return np.arange(len(names), dtype=np.float32)


def premodel(classifier, pool=(0, 2, 3)):
    low, span = np.array([1.0, 1.0], np.float32), np.array([2.0, 4.0], np.float32)
    return Premodel("tree", ("contrast", "hue1"), low, span, pool, classifier)


def tree():
    """Feature 0 at most −0.5: network 3, else 0."""
    whole, leaf = np.array([0, -1, -1], np.int32), np.array([-1, 3, 0], np.int32)
    sides = (np.array([1, 0, 0], np.int32), np.array([2, 0, 0], np.int32))
    return DecisionTree(whole, np.array([-0.5, 0, 0]), *sides, leaf)


def test_a_single_network_answers_always_and_for_nothing():
    single = Single(2)
    assert (single.points, single.default, single.accurate, single.networks) == (1, 0, 0, (2,))
    scores, network = single.classify(Frame(), 0)
    assert (scores.argmax(), network) == (2, 2)
    assert single.overhead_ms(1, {}, 5.0) == 0


def test_a_premodel_looks_at_normalised_features_and_chooses_what_its_point_allows():
    chosen = ByPremodel(premodel(tree()))
    assert (chosen.points, chosen.default, chosen.accurate, chosen.networks) == (3, 2, 2, (0, 2, 3))
    assert not chosen.premodel.priced
    for point, allowed in enumerate((0, 2, 3)):
        scores, network = chosen.classify(Frame(), point)
        assert (scores.argmax(), network) == (allowed, allowed)
    assert chosen.premodel.choose(np.array([0.1, 0.0], np.float32), 2) == 0, "(0.1 − 1) / 2 lies above −0.5"


def test_a_priced_premodel_weighs_chances_against_time():
    """Beside the only row it has seen, network 0 is right in 50 %, 2 in 70 % and 3 in 90 % of cases."""
    utility = ExpectedUtility(
        rows=np.array([[-0.5, 0.0]], np.float32),
        coefficients=np.array([[0.1, 0.2, 0.3]]),
        mean=np.array([0.4, 0.5, 0.6]),
        gamma=np.array([2.0]),
        costs_ms=np.array([1.0, 4.0, 40.0]),
        networks=np.array([0, 2, 3], np.int32),
        prices=np.array([0.1, 0.01, 0.0]),
        default=np.array([1], np.int32),
    )
    chosen = ByPremodel(premodel(utility))
    assert (chosen.points, chosen.default, chosen.accurate) == (3, 1, 2)
    assert chosen.premodel.priced
    assert [chosen.classify(Frame(), point)[1] for point in range(3)] == [0, 2, 3]
    assert utility.probabilities(np.array([-0.5, 0.0], np.float32)) == pytest.approx([0.5, 0.7, 0.9])
    away = utility.probabilities(np.array([0.0, 0.5], np.float32))
    assert away == pytest.approx(np.array([0.4, 0.5, 0.6]) + np.exp(-2 * 0.5) * np.array([0.1, 0.2, 0.3]))


def test_deciding_costs_its_features_once_a_group_and_a_decision_for_each_network_but_the_last():
    costs = dict.fromkeys(FEATURES, 0.5)
    assert features_ms(("contrast", "hue1"), costs) == 1.0
    assert features_ms(("hue1", "hue7", *GROUPS["edges"]), costs) == 1.0
    assert features_ms((), costs) == 0
    assert ByPremodel(premodel(tree())).overhead_ms(1, costs, 0.25) == 1.25
    stages = tuple(Stage(number, (1.0,) * (number + 1), 1.0) for number in range(3))
    cascade = ByCascade(Cascade(stages, (0.3, -1.0), 0, 1, (0.5, 1.0), (0.3, 0.2), (1.0, 1.0)))
    assert [cascade.overhead_ms(runs, {}, 0.25) for runs in (1, 2, 3)] == [0.25, 0.5, 0.5]
    assert (cascade.points, cascade.default, cascade.accurate, cascade.networks) == (2, 0, 1, (0, 1, 2))
    _, network = cascade.classify(Frame(), 1)
    assert network == 2
