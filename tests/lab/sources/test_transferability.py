import numpy as np
import pytest

from edged.lab.sources.transferability import divergence, h_score, leep, log_evidence, p2l, profile, rank_correlation


def gaussians(separation: float, *, seed: int = 0, per_class: int = 40, features: int = 30):
    random = np.random.default_rng(seed)
    means = random.standard_normal((4, features)) * separation
    labels = np.repeat(np.arange(4), per_class)
    return means[labels] + random.standard_normal((len(labels), features)), labels


def test_a_profile_sums_to_one_and_has_no_zero():
    made = profile(np.array([[0.0, 2.0, 0.0], [0.0, 4.0, 3.0]]))
    assert made.sum() == pytest.approx(1.0)
    assert (made > 0).all()
    assert made.argmax() == 1
    assert profile(np.zeros((2, 4))) == pytest.approx([0.25] * 4)


def test_divergence_is_zero_only_for_the_same_and_by_hand_right():
    target, source = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert divergence(target, target) == 0.0
    assert divergence(target, source) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))


def test_nearer_larger_and_better_sources_score_higher():
    assert p2l(0.1, 1000, 0.7) > p2l(0.2, 1000, 0.7)
    assert p2l(0.1, 10_000, 0.7) == pytest.approx(p2l(0.1, 1000, 0.7) + 1.0)
    assert p2l(0.1, 1000, 0.8) > p2l(0.1, 1000, 0.7)


def test_leep_is_zero_for_a_head_that_already_knows_and_chance_for_one_that_says_nothing():
    labels = np.repeat(np.arange(3), 20)
    assert leep(np.eye(3)[labels], labels) == pytest.approx(0.0, abs=1e-6)
    assert leep(np.full((60, 5), 0.2), labels) == pytest.approx(np.log(1 / 3))


def test_leep_by_hand():
    probabilities, labels = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 1])
    conditional = np.array([[0.8 / 1.1, 0.2 / 0.9], [0.3 / 1.1, 0.7 / 0.9]])
    expected = np.mean([np.log(probabilities[0] @ conditional[0]), np.log(probabilities[1] @ conditional[1])])
    assert leep(probabilities, labels) == pytest.approx(expected)


@pytest.mark.parametrize("estimator", [h_score, log_evidence])
def test_features_that_tell_classes_apart_score_higher(estimator):
    scores = [estimator(*gaussians(separation)) for separation in (0.0, 0.3, 1.0, 3.0)]
    assert scores == sorted(scores)
    assert np.isfinite(scores).all()


def test_h_score_lies_between_zero_and_one_less_than_the_classes():
    assert 2.5 < h_score(*gaussians(20.0)) <= 3.0 + 1e-6
    assert 0.0 <= h_score(*gaussians(0.0, per_class=400)) < 0.3
    assert h_score(np.ones((8, 3)), np.arange(8) % 2) == 0.0


def test_log_evidence_is_the_evidence_of_the_linear_model_at_its_maximum():
    """Compare with the marginal likelihood N(y; 0, F Fᵀ / α + I / β) on a grid of α and β."""
    features, labels = gaussians(1.0, per_class=6, features=5)
    expected = []
    for label in range(4):
        target = (labels == label).astype(float)
        best = -np.inf
        for alpha in np.logspace(-2, 5, 60):
            for beta in np.logspace(-1, 3, 60):
                covariance = features @ features.T / alpha + np.eye(24) / beta
                _, log_determinant = np.linalg.slogdet(covariance)
                value = -0.5 * (24 * np.log(2 * np.pi) + log_determinant + target @ np.linalg.solve(covariance, target))
                best = max(best, value / 24)
        expected.append(best)
    assert log_evidence(features, labels, iterations=200) == pytest.approx(np.mean(expected), abs=0.01)


def test_rank_correlation_with_ties():
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1.0)
    assert rank_correlation(np.array([1.0, 1, 2, 2]), np.array([1.0, 2, 3, 4])) == pytest.approx(2 / np.sqrt(5))
    assert np.isnan(rank_correlation(np.array([1.0, 1]), np.array([1.0, 2])))


def test_a_profile_is_the_mean_of_the_features_with_a_thousandth_of_everything():
    features = np.array([[1.0, 2.0, -9.0, 1.0], [3.0, 4.0, 3.0, 1.0]])  # means 2, 3, -3 (counts as 0) and 1
    assert profile(features) == pytest.approx(0.999 * np.array([2, 3, 0, 1]) / 6 + 0.001 / 4)
    assert profile(features.astype(np.float32)).dtype == np.float64
    assert profile(features / 100) == pytest.approx(profile(features)), "however small they are"


def test_divergence_is_never_negative_and_not_symmetric():
    near = np.array([0.3, 0.7])
    assert divergence(near, near * (1 + 1e-16)) == 0.0
    assert divergence(np.array([0.25, 0.75]), np.array([0.5, 0.5])) != pytest.approx(
        divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    )


def test_p2l_by_hand():
    assert p2l(0.0, 1000, 0.0) == pytest.approx(3.0)
    assert p2l(0.25, 1000, 0.0) == pytest.approx(0.5), "a nat costs ten decades of images"
    assert p2l(0.25, 1000, 0.7) == pytest.approx(7.5), "all of the accuracy gains ten"


def test_leep_takes_heads_that_do_not_quite_sum_to_one_and_impossible_ones():
    labels = np.array([0, 0, 1, 1])
    head = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    assert leep(3 * head, labels) == pytest.approx(leep(head, labels))
    assert leep(head.astype(np.float32), labels) == pytest.approx(leep(head, labels), abs=1e-5)
    unsure = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert leep(unsure, np.array([0, 0, 0, 1])) > leep(unsure, np.array([0, 1, 0, 0]))
    silent = np.column_stack([head, np.zeros(4)])
    assert leep(silent, labels) == pytest.approx(leep(head, labels)), "an output that never speaks tells nothing"


@pytest.mark.parametrize(("per_class", "features"), [(5, 30), (40, 30), (200, 8)])
def test_the_h_score_is_that_of_its_formula(per_class, features):
    """With the covariances written out, and scikit-learn's Ledoit-Wolf shrinkage."""
    covariance = pytest.importorskip("sklearn.covariance")
    rows, labels = gaussians(0.5, per_class=per_class, features=features)
    shrunk, weight = covariance.ledoit_wolf(rows)
    assert 0 < weight < 1
    means = np.stack([rows[labels == label].mean(axis=0) for label in labels]) - rows.mean(axis=0)
    between = means.T @ means / len(rows)
    expected = (1 - weight) * np.trace(np.linalg.solve(shrunk, between))
    assert h_score(rows, labels) == pytest.approx(expected)
    assert h_score(rows + 100.0, labels) == pytest.approx(expected), "where the features begin does not matter"
    order = np.random.default_rng(0).permutation(len(rows))
    assert h_score(rows[order].astype(np.float32), labels[order]) == pytest.approx(expected, rel=1e-4)


def test_the_h_score_of_features_of_one_direction_is_finite():
    labels = np.repeat([0, 1], 10)
    rows = np.outer(labels, np.ones(5)) + 0.0
    assert h_score(rows, labels) == pytest.approx(1.0, abs=0.2)


def test_evidence_does_not_depend_on_the_order_and_prefers_fewer_useless_features():
    rows, labels = gaussians(1.0, per_class=20, features=6)
    found = log_evidence(rows, labels)
    order = np.random.default_rng(3).permutation(len(rows))
    assert log_evidence(rows[order], labels[order]) == pytest.approx(found)
    noise = np.random.default_rng(4).standard_normal((len(rows), 60))
    assert log_evidence(np.column_stack([rows, noise]), labels) < found


@pytest.mark.parametrize(("per_class", "width"), [(6, 5), (3, 20), (4, 16)])
def test_log_evidence_is_that_of_the_likeliest_model_of_features_of_all_sizes(per_class, width):
    """Against the marginal likelihood N(y; 0, F Fᵀ / α + I / β), maximised by SciPy; features differ in size."""
    minimize = pytest.importorskip("scipy.optimize").minimize
    features, labels = gaussians(1.0, per_class=per_class, features=width)
    features = features * np.geomspace(0.2, 6.0, width)
    count, expected = len(labels), []
    for label in range(4):
        target = (labels == label).astype(float)

        def negative(logs, target=target):
            alpha, beta = np.exp(np.clip(logs, -20, 20))
            covariance = features @ features.T / alpha + np.eye(count) / beta
            _, log_determinant = np.linalg.slogdet(covariance)
            fit = target @ np.linalg.solve(covariance, target)
            return 0.5 * (count * np.log(2 * np.pi) + log_determinant + fit) / count

        found = min((minimize(negative, start, method="Nelder-Mead", tol=1e-7) for start in ((3, 1), (6, 2), (1, 4))),
                    key=lambda each: each.fun)  # fmt: skip
        expected.append(-found.fun)
    assert log_evidence(features, labels, iterations=5000) == pytest.approx(np.mean(expected), abs=2e-4)
    assert log_evidence(features, labels) == pytest.approx(np.mean(expected), abs=0.02), "twenty steps come near"


def test_features_that_tell_the_classes_exactly_have_a_finite_evidence():
    labels = np.repeat(np.arange(3), 5)
    rows = np.eye(3)[labels]
    assert np.isfinite(log_evidence(rows, labels))
    assert log_evidence(rows, labels) > log_evidence(rows + 0.1 * gaussians(0.0, per_class=15)[0][:15, :3], labels)


def test_rank_correlation_is_spearman_s_and_sees_only_the_order():
    first, second = np.array([3.0, 1, 4, 1, 5, 9, 2, 6]), np.array([2.0, 7, 1, 8, 2, 8, 1, 8])
    ranks = np.array([4.0, 1.5, 5, 1.5, 6, 8, 3, 7]), np.array([3.5, 5, 1.5, 7, 3.5, 7, 1.5, 7])
    expected = np.corrcoef(*ranks)[0, 1]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(np.exp(first), -second) == pytest.approx(-expected)
    assert np.isnan(rank_correlation(np.array([1.0, 2]), np.array([5.0, 5])))
