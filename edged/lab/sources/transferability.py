"""How well a network that was trained on other images will serve as a backbone: estimates without training. Pure numpy.

Two kinds. `p2l` needs one pass of the target images through one reference network, whatever number of sources there is.
`leep`, `h_score` and `log_evidence` look at what each source itself makes of the images: one pass per source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]

NAT = 10.0
"""What one nat of divergence costs in `p2l`, in decades of source images. Ours, set before anything was measured."""
ACCURACY = 10.0
"""What the whole way from 0 to 1 of ImageNet accuracy gains in `p2l`, in decades of source images. Ours, likewise."""
_SMOOTHING = 1e-3
"""Share of a uniform distribution mixed into each profile: a feature that never fired must not cost infinity."""


def profile(features: Floats) -> Floats:
    """Return the mean of non-negative features (n, d), as a distribution over the d features that sums to 1.

    The mean feature vector of a data set in a reference network is what P2L compares (Bhattacharjee et al., "P2L:
    Predicting Transfer Learning for Images and Semantic Relations", arXiv 1908.07630); the smoothing is ours.
    """
    mean = np.maximum(np.asarray(features, np.float64).mean(axis=0), 0.0)
    total = mean.sum()
    uniform = 1.0 / len(mean)
    share = mean / total if total > 0 else np.full(len(mean), uniform)
    return np.asarray((1 - _SMOOTHING) * share + _SMOOTHING * uniform)


def divergence(target: Floats, source: Floats) -> float:
    """Return the Kullback–Leibler divergence Σ t ln(t / s) of two profiles, in nats: 0 for the same, never negative."""
    return max(float(np.sum(target * np.log(target / source))), 0.0)


def p2l(divergence_nats: float, images: int, accuracy: float) -> float:
    """Return the score of a source: log10(images) − `NAT` · divergence + `ACCURACY` · accuracy. Higher is better.

    That the closeness of the data sets and the size of the source both count is the paper's finding. The form in which
    they are added here, the weights and the third term are ours. The third tells networks of different capacity that
    learned from the same images apart, where P2L sees one source: networks that are better on ImageNet give better
    fixed features (Kornblith, Shlens, Le 2019, "Do better ImageNet models transfer better?").

    Args:
        divergence_nats: How far the target's profile is from the source's.
        images: Number of images that the source was trained on.
        accuracy: Top-1 of this architecture on ImageNet, 0..1.
    """
    return float(np.log10(images) - NAT * divergence_nats + ACCURACY * accuracy)


def leep(probabilities: Floats, labels: Labels) -> float:
    """Return the log expected empirical prediction (Nguyen et al. 2020, "LEEP: A New Measure to Evaluate
    Transferability of Learned Representations"): mean log Σ_z P(y | z) θ_z(x), with P(y | z) counted on these images.

    Args:
        probabilities: (n, z), what the source's own head says of the target's images; rows sum to 1.
        labels: (n,) integers from 0.

    Returns:
        At most 0; higher is better.
    """
    scores = np.asarray(probabilities, np.float64) + 1e-12
    scores /= scores.sum(axis=1, keepdims=True)
    one_hot = np.eye(int(labels.max()) + 1)[labels]
    joint = one_hot.T @ scores / len(labels)
    conditional = joint / joint.sum(axis=0)
    expected = np.sum((scores @ conditional.T) * one_hot, axis=1)
    return float(np.log(np.maximum(expected, 1e-300)).mean())


def h_score(features: Floats, labels: Labels) -> float:
    """Return the H-score tr(Σ⁻¹ Σ_B) (Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task
    Transfer Learning"), where Σ is the covariance of features and Σ_B that of their class means.

    Shrunk as by Ibrahim, Ponomareva, Mazumder 2021, "Newer is not always better: Rethinking transferability metrics":
    (1 − w) tr(((1 − w) Σ + w σ² I)⁻¹ Σ_B) with the w of Ledoit and Wolf 2004; without it a few images of many features
    always seem perfectly separable.

    Returns:
        0..classes − 1; higher is better.
    """
    centred = np.asarray(features, np.float64)
    centred = centred - centred.mean(axis=0)
    count, width = centred.shape
    # With U S Vᵀ of the centred features n directions are enough: outside of their span Σ_B is 0.
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    values = singular**2 / count
    typical = values.sum() / width
    if not typical > 0:
        return 0.0
    spread = (values**2).sum() - width * typical**2  # ‖Σ − σ² I‖²
    norms = np.einsum("ij,ij->i", centred, centred)
    noise = (np.square(norms).mean() - (values**2).sum()) / count
    weight = float(np.clip(noise / spread, 0.0, 1.0)) if spread > 0 else 1.0
    shrunk = (1 - weight) * values + weight * typical
    # means = A · centred with A averaging over the class, so they lie in the same span: means · V = A U S.
    of_class = {int(label): left[labels == label].mean(axis=0) for label in np.unique(labels)}
    averaged = np.stack([of_class[int(label)] for label in labels]) * singular
    between = np.square(averaged).mean(axis=0)
    return float((1 - weight) * (between / np.maximum(shrunk, 1e-12)).sum())


def log_evidence(features: Floats, labels: Labels, iterations: int = 20) -> float:
    """Return LogME, the maximum log evidence of a Bayesian linear model per image, averaged over the classes as 0/1
    targets (You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning").

    Returns:
        Higher is better.
    """
    rows = np.asarray(features, np.float64)
    count, width = rows.shape
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    squares = singular**2
    evidences = []
    for label in range(int(labels.max()) + 1):
        target = (labels == label).astype(np.float64)
        along = left.T @ target
        outside = float(max(target @ target - along @ along, 0.0))  # no feature explains this part
        alpha = beta = 1.0
        for _ in range(iterations):
            ratio = alpha / beta
            gamma = float((squares / (squares + ratio)).sum())
            weights = float(np.sum(squares * along**2 / (squares + ratio) ** 2))
            residual = outside + float(np.sum((ratio / (squares + ratio) * along) ** 2))
            alpha = gamma / max(weights, 1e-12)
            beta = max(count - gamma, 1e-9) / max(residual, 1e-12)
            if abs(alpha / beta - ratio) <= 1e-3 * ratio:
                break
        ratio = alpha / beta
        weights = float(np.sum(squares * along**2 / (squares + ratio) ** 2))
        residual = outside + float(np.sum((ratio / (squares + ratio) * along) ** 2))
        log_determinant = float(np.log(alpha + beta * squares).sum()) + (width - len(squares)) * np.log(alpha)
        evidence = width * np.log(alpha) + count * np.log(beta) - beta * residual - alpha * weights
        evidences.append(0.5 * (evidence - log_determinant - count * np.log(2 * np.pi)) / count)
    return float(np.mean(evidences))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN where one of the two does not vary."""
    ranks = np.stack([_ranks(np.asarray(values, np.float64)) for values in (first, second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = float(np.sqrt(np.prod((ranks**2).sum(axis=1))))
    return float(ranks[0] @ ranks[1]) / norm if norm > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
