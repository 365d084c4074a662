"""Noise on bottlenecks that leave a device."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edged.learning.privacy import Noise, clipped, epsilon, keyed, noisy
from edged.vision.quantization import Affine

AFFINE = Affine(0.05, -128)
IDS = [f"{number:064x}" for number in range(50)]


def bottlenecks(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (50, 200)).astype(np.int8)


def test_noise_has_the_spread_that_was_asked_for() -> None:
    noise = Noise(clip=20.0, sigma=0.1)
    released, affine = noisy(bottlenecks(), AFFINE, noise, b"secret", IDS)
    added = affine.dequantize(released) - clipped(AFFINE.dequantize(bottlenecks()), 20.0)
    assert added.std() == pytest.approx(2.0, rel=0.05)
    assert abs(added.mean()) < 0.1


def test_long_vectors_are_cut_and_short_ones_stay() -> None:
    real = np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)
    assert np.allclose(clipped(real, 1.0), [[0.6, 0.8], [0.3, 0.4]])


def test_asking_again_gives_the_same_noise_and_another_device_another() -> None:
    noise = Noise(20.0, 0.1)
    once, affine = noisy(bottlenecks(), AFFINE, noise, b"secret", IDS)
    again, _ = noisy(bottlenecks()[::-1], AFFINE, noise, b"secret", IDS[::-1])
    assert np.array_equal(again[::-1], once)
    other, same = noisy(bottlenecks(), AFFINE, noise, b"another", IDS)
    assert not np.array_equal(other, once)
    assert same == affine  # of the network and the noise alone: devices' bytes belong together
    assert keyed(b"secret", "a") != keyed(b"another", "a")


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 5.0])
def test_epsilon_is_that_of_the_gaussian_mechanism(sigma: float) -> None:
    """The definition by integration: δ = ∫ max(0, p − e^ε q) for two normal densities 2/σ standard deviations apart."""
    delta = 1e-3
    found = epsilon(sigma, delta)
    x = np.linspace(-30, 40, 700_001)
    p, q = (np.exp(-0.5 * (x - centre) ** 2) / math.sqrt(2 * math.pi) for centre in (2 / sigma, 0.0))
    lost = np.maximum(0, p - math.exp(found) * q)
    assert float(lost.sum() * (x[1] - x[0])) == pytest.approx(delta, rel=0.01)


def test_much_noise_has_a_small_epsilon_and_little_noise_a_great_one() -> None:
    found = [epsilon(sigma, 1e-5) for sigma in (0.01, 0.1, 1.0, 10.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1e4
    assert found[-1] < 1
