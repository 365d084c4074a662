from dataclasses import replace

import numpy as np
import pytest

from edged.errors import ConfigError
from edged.lab.selection.premodel_fitting import choose_features, choose_pool, fit_premodel, optimal, uncorrelated
from edged.selection.features import FEATURES
from tests.lab.selection.synthetic import measurements

NAMES = ("contrast", "hue1", "hue2")


def test_the_pool_algorithm_by_hand():
    right = np.array(
        [
            [1, 1, 1, 0, 0, 0, 0, 0],  # most often the cheapest right one
            [1, 1, 1, 1, 0, 0, 0, 0],  # adds one photo
            [0, 0, 0, 1, 1, 1, 0, 0],  # adds three
            [0, 0, 0, 0, 0, 1, 1, 0],  # then this one adds one
        ],
        bool,
    )
    assert choose_pool(right, theta=0.2) == (0, 2)
    assert choose_pool(right, theta=0.1) == (0, 2, 3)
    assert optimal(right).tolist() == [0, 0, 0, 1, 2, 2, 3, 0]


def test_correlated_and_constant_features_go_and_the_cheaper_of_two_stays():
    rng = np.random.default_rng(0)
    first, other = rng.random((2, 300))
    rows = np.stack([first, first * 2 + 0.01 * other, other, np.ones(300)], axis=1).astype(np.float32)
    names = ("a", "b", "c", "d")
    assert uncorrelated(rows, names, {"a": 1.0, "b": 0.5, "c": 1.0, "d": 0.1}) == ("b", "c")
    assert uncorrelated(rows, names, dict.fromkeys(names, 1.0)) == ("a", "c")


def test_the_telling_feature_is_found_important():
    measured = measurements(1000)
    features = np.zeros_like(measured.features)
    some = ("contrast", "hue1", "hue2", "hue3")
    for name in some:
        features[:, FEATURES.index(name)] = measured.features[:, FEATURES.index(name)]
    names, importance = choose_features(replace(measured, features=features))
    assert names == some
    assert max(importance, key=lambda name: importance[name]) == "contrast"


@pytest.mark.parametrize("classes", [2, 3])
def test_numpy_decides_as_scikit_learn_does(classes):
    pytest.importorskip("sklearn")
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    measured = measurements(300)
    pool = (0, 2) if classes == 2 else (0, 1, 2)
    rows = measured.features[:, [5, 22, 23]]
    low, span = rows.min(axis=0), rows.max(axis=0) - rows.min(axis=0)
    normal = np.asarray((rows - low) / span, np.float32)
    targets = np.array(pool)[optimal(measured.right[list(pool)])]
    tree = fit_premodel("tree", measured, NAMES, pool)
    machine = fit_premodel("svm", measured, NAMES, pool)
    theirs = DecisionTreeClassifier(max_depth=6, min_samples_leaf=10, random_state=0).fit(normal, targets)
    assert [tree.choose(row) for row in rows] == theirs.predict(normal).tolist()
    theirs = SVC(gamma=1 / (3 * float(normal.var()))).fit(normal, targets)
    assert [machine.choose(row) for row in rows] == theirs.predict(normal).tolist()


def test_one_network_for_all_needs_no_machine():
    pytest.importorskip("sklearn")
    machine = fit_premodel("svm", measurements(60), NAMES, (1,))
    assert machine.choose(np.zeros(3, np.float32)) == 1


def test_an_unknown_kind_is_one_line():
    with pytest.raises(ConfigError, match="premodel kind 'forest': unknown; allowed: knn, tree, svm, binary"):
        fit_premodel("forest", measurements(60), NAMES, (0, 1))
