from dataclasses import replace

import numpy as np
import pytest

from edged.errors import ConfigError
from edged.lab.selection.evaluation import play
from edged.lab.selection.measurements import Measurements, folds
from edged.lab.selection.premodel_fitting import choose_features, choose_pool, fit_premodel, optimal, uncorrelated
from edged.selection.features import FEATURES
from edged.selection.strategy import ByPremodel
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


def told_by_contrast(measured: Measurements) -> Measurements:
    """The same, but each network fails above a contrast of its own; the dearest never fails."""
    contrast = measured.features[:, FEATURES.index("contrast")]
    right = np.stack([contrast < limit for limit in (0.4, 0.7, np.inf)])
    scores = np.where(right, 0.9, 0.0)[..., np.newaxis] * np.eye(12)[measured.classes] + 0.001
    scores[..., 0] += np.where(right, 0, 0.5) * (measured.classes != 0)
    scores[..., 1] += np.where(right, 0, 0.5) * (measured.classes == 0)
    return replace(measured, scores=scores.astype(np.float32))


def test_the_most_important_features_stay():
    """Among many that tell nothing, the one that tells which network is right stays, and the least telling one goes."""
    measured = measurements(1000)
    features = np.zeros_like(measured.features)
    some = [FEATURES.index(name) for name in ("contrast", *(f"edge_angle{n}" for n in range(1, 8)), "hue1", "hue2")]
    features[:, some] = measured.features[:, some]
    names, importance = choose_features(told_by_contrast(replace(measured, features=features)))
    ranked = sorted(importance, key=lambda name: -importance[name])
    assert (len(importance), len(names)) == (10, 7)
    assert ranked[0] == "contrast"
    assert set(names) == set(ranked[:7])


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
    assert [tree.choose(row, tree.default) for row in rows] == theirs.predict(normal).tolist()
    theirs = SVC(gamma=1 / (3 * float(normal.var()))).fit(normal, targets)
    assert [machine.choose(row, machine.default) for row in rows] == theirs.predict(normal).tolist()


def test_one_network_for_all_needs_no_machine():
    pytest.importorskip("sklearn")
    machine = fit_premodel("svm", measurements(60), NAMES, (1,))
    assert machine.choose(np.zeros(3, np.float32), 0) == 1


def on_held_out(measured: Measurements, point: int | None = None) -> tuple[float, float, float]:
    """Fit "expected" to some photos; its accuracy and mean ms on the others, and the best network's accuracy there."""
    training, held_out = folds(len(measured), 3, 0)[0]
    strategy = ByPremodel(fit_premodel("expected", measured.take(training), NAMES))
    test = measured.take(held_out)
    outcome = play(strategy, strategy.default if point is None else point, test, 0.0)
    return float(outcome.top1.mean()), float(outcome.cost_ms.mean()), float(test.top1[test.best])


def test_the_expected_kind_saves_time_where_features_tell_who_is_right():
    measured = measurements(900)
    top1, ms, best = on_held_out(told_by_contrast(measured))
    assert best == 1
    assert top1 > 0.93
    assert ms < 30


def test_the_expected_kind_names_the_best_network_where_features_tell_nothing():
    measured = measurements(900)
    noise = np.random.default_rng(1).random(measured.features.shape).astype(np.float32)
    top1, ms, best = on_held_out(replace(measured, features=noise))
    assert top1 > best - 0.02
    assert ms > 0.85 * 40


def test_dearer_points_of_the_expected_kind_cost_more_and_are_more_often_right():
    found = [on_held_out(measurements(900), point)[:2] for point in (0, 5, 11)]
    assert found == sorted(found)
    assert found[0][1] < found[2][1]


def test_an_unknown_kind_is_one_line():
    with pytest.raises(ConfigError, match="premodel kind 'forest': unknown; allowed: knn, tree, svm, binary, expected"):
        fit_premodel("forest", measurements(60), NAMES, (0, 1))
