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
