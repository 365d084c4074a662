"""Noise on bottlenecks that leave a device: norm clipping and the Gaussian mechanism. Pure numpy.

The L2 norm of a bottleneck is cut to C, and to each of its numbers Gaussian noise with a standard deviation of σ·C is
added, before it is written with 8 bits again. Whoever sees the result cannot tell two possible images of the same label
apart by more than (ε, δ) of differential privacy allows, see `epsilon`: two bottlenecks of norm C are 2C apart at most.
The label, the number of images, and that an image is there at all are not hidden.

The noise of an image is drawn from the device's secret and the image's hash, so that asking again gives the same noise:
of many answers with fresh noise the mean would be the bottleneck. numpy's generator is not a cryptographic one, and its
floating point leaves patterns (Mironov 2012, "On significance of the least significant bits for differential privacy"),
most of which the 8 bits round away.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAIL = 4.0
"""So many standard deviations of the noise are kept on either side; what lies beyond saturates."""
_ROWS = 512


@dataclass(frozen=True, slots=True)
class Noise:
    """How much noise.

    Attributes:
        clip: Largest L2 norm of a bottleneck in real numbers, C.
        sigma: Standard deviation of the noise in each number, in units of C.
    """

    clip: float
    sigma: float


def noisy(
    bottlenecks: NDArray[Any], affine: Affine, noise: Noise, secret: bytes, ids: Sequence[str]
) -> tuple[NDArray[np.int8], Affine]:
    """Return bottlenecks as they may leave the device, and what their bytes mean.

    Args:
        bottlenecks: (n, features) bytes.
        affine: Scale and zero point of these bytes.
        noise: How much.
        secret: The device's own, from which the noise is drawn.
        ids: n hashes of the images.

    Returns:
        (n, features) int8, and their scale and zero point, which depend on `affine` and `noise` alone.
    """
    limits = np.iinfo(bottlenecks.dtype)
    low, high = affine.dequantize(np.array([limits.min, limits.max], bottlenecks.dtype))
    spread = _TAIL * noise.sigma * noise.clip
    released = Affine.from_range(float(low) - spread, float(high) + spread)
    bytes_ = np.empty(bottlenecks.shape, np.int8)
    for begin in range(0, len(bottlenecks), _ROWS):
        part = slice(begin, begin + _ROWS)
        real = clipped(affine.dequantize(bottlenecks[part]), noise.clip)
        drawn = [_drawn(secret, one, real.shape[1]) for one in ids[part]]
        bytes_[part] = released.quantize(real + np.float32(noise.sigma * noise.clip) * np.stack(drawn), np.int8)
    return bytes_, released


def clipped(real: NDArray[np.float32], clip: float) -> NDArray[np.float32]:
    """Return (n, features) vectors, those with a norm beyond `clip` made shorter to that norm."""
    norms = np.linalg.norm(real, axis=1, keepdims=True)
    shorter: NDArray[np.float32] = real * np.minimum(1, clip / np.maximum(norms, 1e-12)).astype(np.float32)
    return shorter


def keyed(secret: bytes, text: str) -> str:
    """Return 64 hex digits that stand for a hash, and that nobody without the secret can tell from chance."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def epsilon(sigma: float, delta: float) -> float:
    """Return ε of the release of one bottleneck, for δ, where another image of the same label might stand in its place.

    The analytic Gaussian mechanism (Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy",
    theorem 8): with sensitivity Δ and standard deviation s, δ(ε) = Φ(Δ/2s − εs/Δ) − e^ε Φ(−Δ/2s − εs/Δ). Here Δ = 2C
    and s = σ·C, so that Δ/s = 2/σ.

    Args:
        sigma: As in `Noise`.
        delta: 0..1, well below one over the number of images.
    """
    ratio = 2 / sigma

    def enough(value: float) -> bool:
        first = _normal(ratio / 2 - value / ratio)
        exponent, tail = value, _log_normal(-ratio / 2 - value / ratio)
        return first - math.exp(exponent + tail) <= delta

    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _drawn(secret: bytes, id_: str, features: int) -> NDArray[np.float32]:
    """Return standard normal numbers that belong to one image of one device."""
    random = np.random.default_rng(int(keyed(secret, f"noise:{id_}"), 16))
    return random.standard_normal(features, dtype=np.float32)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _log_normal(x: float) -> float:
    """Return ln Φ(x), also where Φ(x) is below what a float can hold."""
    if x > -30:
        return math.log(_normal(x))
    return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))  # the first term of its asymptotic series
