from dataclasses import replace

import numpy as np
import pytest

from edged.errors import ConfigError
from edged.lab.selection.evaluation import play
from edged.lab.selection.measurements import Measurements, folds
from edged.lab.selection.premodel_fitting import (
    _nearest,
    choose_features,
    choose_pool,
    fit_premodel,
    optimal,
    range_of,
    uncorrelated,
)
from edged.selection.features import FEATURES
from edged.selection.premodels import NearestNeighbours
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


def test_a_network_joins_the_pool_for_more_than_theta_only():
    right = np.zeros((2, 200), bool)
    right[0, :150] = True
    right[1, 150] = True
    assert choose_pool(right) == (0,), "half a percent is not more than half a percent"
    right[1, 151] = True
    assert choose_pool(right) == (0, 1)
    eighth = np.array([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0]], bool)
    assert choose_pool(eighth, theta=0.125) == (0,)
    assert choose_pool(eighth, theta=0.124) == (0, 1)


def test_photos_that_no_network_can_do_choose_no_network():
    right = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]], bool)
    assert choose_pool(right, theta=0.5) == (1,), (
        "the cheapest is the optimal one of the hopeless ones, which tell nothing"
    )
    assert choose_pool(np.ones((3, 4), bool)) == (0,)
    assert choose_pool(np.eye(3, dtype=bool), theta=0.0) == (0, 1, 2), "it ends where all have joined"


@pytest.mark.parametrize(("share", "kept"), [(0.7, ("a", "b")), (0.8, ("a",)), (-0.8, ("a",)), (-0.7, ("a", "b"))])
def test_features_of_a_correlation_above_three_quarters_go(share, kept):
    rng = np.random.default_rng(0)
    first, noise = np.linalg.qr(rng.standard_normal((400, 3)) - 0.0)[0].T[:2]
    first, noise = first - first.mean(), noise - noise.mean()
    noise -= first * (noise @ first) / (first @ first)
    second = share * first / np.linalg.norm(first) + np.sqrt(1 - share**2) * noise / np.linalg.norm(noise)
    rows = np.stack([first, second], axis=1)
    assert abs(np.corrcoef(rows, rowvar=False)[0, 1]) == pytest.approx(abs(share))
    assert uncorrelated(rows, ("a", "b"), {"a": 1.0, "b": 1.0}) == kept


def test_the_range_of_features_is_theirs_and_constant_ones_divide_by_one():
    low, span = range_of(np.array([[1.0, 5.0, -2.0], [3.0, 5.0, 2.0], [2.0, 5.0, 0.0]], np.float32))
    assert (low.tolist(), span.tolist()) == ([1.0, 5.0, -2.0], [2.0, 1.0, 4.0])
    assert range_of(np.array([[0.25], [0.5]], np.float32))[1].tolist() == [0.25], "also a small one"


@pytest.mark.parametrize("seed", range(3))
def test_many_rows_are_decided_as_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    rows, targets = rng.random((80, 3)).astype(np.float32), rng.integers(0, 3, 80).astype(np.int32)
    queries = rng.random((50, 3)).astype(np.float32)
    one = NearestNeighbours(rows, targets)
    assert _nearest(rows, targets, queries).tolist() == [one.predict(query) for query in queries]


def test_importance_is_what_leaving_a_feature_out_costs():
    measured = told_by_contrast(measurements(400))
    features = np.zeros_like(measured.features)
    some = [FEATURES.index(name) for name in ("contrast", "hue1")]
    features[:, some] = measured.features[:, some]
    measured = replace(measured, features=features)
    _, importance = choose_features(measured, seed=2)
    pool = choose_pool(measured.right)
    targets = np.array(pool, np.int32)[optimal(measured.right[list(pool)])]

    def accuracy(columns: list[int]) -> float:
        hits = 0
        for training, held_out in folds(400, 5, 2):
            low, span = range_of(features[training][:, columns])
            model = NearestNeighbours((features[training][:, columns] - low) / span, targets[training])
            normal = (features[held_out][:, columns] - low) / span
            hits += sum(model.predict(row) == target for row, target in zip(normal, targets[held_out], strict=True))
        return hits / 400

    contrast, hue1 = some
    both = accuracy([hue1, contrast])
    assert importance == pytest.approx(
        {"hue1": both - accuracy([contrast]), "contrast": both - accuracy([hue1])}, abs=1e-6
    )
    assert importance["contrast"] > 0.2


def test_neighbours_and_binary_choose_as_the_nearest_photos_would():
    measured = measurements(200)
    rows = measured.features[:, [FEATURES.index(name) for name in NAMES]]
    low, span = range_of(rows)
    normal = (rows - low) / span
    pool = (0, 1, 2)
    knn, binary = fit_premodel("knn", measured, NAMES, pool), fit_premodel("binary", measured, NAMES, pool)
    assert (knn.low.tolist(), knn.span.tolist(), knn.pool, knn.names) == (low.tolist(), span.tolist(), pool, NAMES)
    targets = optimal(measured.right)
    first, second = (NearestNeighbours(normal, measured.right[n].astype(np.int32)) for n in (0, 1))
    nearest = NearestNeighbours(normal, targets)
    for row, own in zip(rows[:60], normal[:60], strict=True):
        assert knn.choose(row, 2) == nearest.predict(own)
        assert knn.choose(row, 1) == min(nearest.predict(own), 1), "a cheaper point allows fewer networks"
        assert binary.choose(row, 2) == (0 if first.predict(own) else 1 if second.predict(own) else 2)
    by_paper = fit_premodel("knn", measured, NAMES)
    assert by_paper.pool == choose_pool(measured.right)
    assert fit_premodel("expected", measured, NAMES).pool == (0, 1, 2), "all of them"
    assert fit_premodel("expected", measured, NAMES, (0, 2)).pool == (0, 2)


@pytest.mark.parametrize(("blur", "ridge"), [(0.0, 3.0), (0.6, 10.0), (1.5, 30.0), (None, 3.0)])
def test_the_expected_kind_is_kernel_ridge_at_prices_that_keep_to_the_budgets(blur, ridge):
    """All of it again with scikit-learn's kernel ridge regression."""
    kernel_ridge = pytest.importorskip("sklearn.kernel_ridge")
    measured = measurements(250) if blur is not None else told_by_contrast(measurements(250))
    features = measured.features.copy()
    features[:, FEATURES.index("contrast")] += (blur or 0.0) * np.random.default_rng(1).standard_normal(250)
    measured = replace(measured, features=features)
    rows = measured.features[:, [FEATURES.index(name) for name in NAMES]]
    low, span = range_of(rows)
    normal = np.asarray((rows - low) / span, np.float32)
    right, costs = measured.right.T.astype(float), np.array([1.0, 4.0, 40.0])
    gamma = 1 / (3 * float(normal.var()))

    def estimated(training, queries, ridge):
        mean = right[training].mean(axis=0)
        model = kernel_ridge.KernelRidge(alpha=ridge, kernel="rbf", gamma=gamma)
        return mean + model.fit(normal[training], right[training] - mean).predict(normal[queries])

    inner = {}
    for tried_ridge in (3.0, 10.0, 30.0, 100.0, 300.0):
        found = np.empty_like(right)
        for training, held_out in folds(250, 5, 0):
            found[held_out] = estimated(training, held_out, tried_ridge)
        inner[tried_ridge] = found
    assert min(inner, key=lambda each: np.square(inner[each] - right).mean()) == ridge
    fitted = fit_premodel("expected", measured, NAMES).classifier
    everything = np.arange(250)
    expected = estimated(everything, everything, ridge)
    assert np.stack([fitted.probabilities(row) for row in normal]) == pytest.approx(expected, abs=1e-4)

    best = measured.best
    best_ms = costs[best]
    prices = np.append(np.geomspace(1.0, 1e-4, 60), 0.0) / best_ms
    tried = []
    for price in prices:
        chosen = (inner[ridge] - price * costs).argmax(axis=1)
        tried.append((price, costs[chosen].mean(), right[everything, chosen].mean()))
    levels = (0.1, 0.15, 0.2, 0.25, 0.3, 0.36, 0.42, 0.5, 0.58, 0.66, 0.8)
    points = []
    for share in levels:
        within = [each for each in tried if each[1] <= share * best_ms]
        points.append(min(within) if within else tried[0])
    points.append(tried[-1])
    assert fitted.prices == pytest.approx([price for price, _, _ in points])
    good = [number for number, (_, _, top1) in enumerate(points) if top1 >= measured.top1[best]]
    assert fitted.default.tolist() == [good[0] if good else 11]
    assert blur is not None or len(good) > 1, "there is a choice"
    assert fitted.costs_ms.tolist() == costs.tolist()


@pytest.mark.parametrize("pool", [(0, 2), (0, 1, 2)])
def test_a_machine_is_kept_with_the_numbers_of_scikit_learn(pool):
    svm = pytest.importorskip("sklearn.svm")
    measured = measurements(200)
    rows = measured.features[:, [FEATURES.index(name) for name in NAMES]]
    low, span = range_of(rows)
    normal = np.asarray((rows - low) / span, np.float32)
    targets = np.array(pool)[optimal(measured.right[list(pool)])]
    gamma = 1 / (3 * float(normal.var()))
    theirs = svm.SVC(kernel="rbf", gamma=gamma, C=1.0).fit(normal, targets)
    ours = fit_premodel("svm", measured, NAMES, pool).classifier
    sign = -1 if len(pool) == 2 else 1  # scikit-learn turns LIBSVM's sign round where there are two classes
    assert ours.vectors == pytest.approx(theirs.support_vectors_)
    assert ours.counts.tolist() == theirs.n_support_.tolist()
    assert ours.coefficients == pytest.approx(sign * theirs.dual_coef_)
    assert ours.intercepts == pytest.approx(sign * theirs.intercept_)
    assert (ours.gamma.tolist(), ours.targets.tolist()) == ([pytest.approx(gamma)], list(pool))


def test_a_machine_of_one_class_has_no_vectors():
    pytest.importorskip("sklearn")
    found = fit_premodel("svm", measurements(60), NAMES, (1,)).classifier
    assert [each.tolist() for each in (found.counts, found.coefficients, found.intercepts)] == [[0], [], []]
    assert (found.vectors.shape, found.gamma.tolist(), found.targets.tolist()) == ((0, 3), [1.0], [1])
    assert found.coefficients.shape == (0, 0)
