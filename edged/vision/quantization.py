"""8-bit arithmetic, as TFLite defines it: real = scale · (quantized − zero_point)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Affine(NamedTuple):
    """One scale and zero point for a whole tensor."""

    scale: float
    zero_point: int

    def dequantize(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the real numbers that uint8 or int8 `values` stand for; any shape, float32."""
        real: NDArray[np.float32] = values.astype(np.float32)
        real -= np.float32(self.zero_point)
        real *= np.float32(self.scale)
        return real

    def quantize(self, real: NDArray[np.float32], dtype: type[np.uint8] | type[np.int8]) -> NDArray[Any]:
        """Return the nearest representable values, saturated; undoes `dequantize` exactly."""
        limits = np.iinfo(dtype)
        quantized = np.clip(np.rint(real / self.scale) + self.zero_point, limits.min, limits.max)
        return np.asarray(quantized, dtype)

    @classmethod
    def from_range(cls, low: float, high: float) -> Affine:
        """Spread int8 over [low, high], widened to hold 0 exactly (TFLite's quantization specification)."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, 1e-8)
        return cls(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def quantize_weights_per_channel(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize each output channel symmetrically to int8.

    Args:
        weights: (channels, inputs), float32.

    Returns:
        int8 values of the same shape in −127..127, and one float32 scale per channel, max|w| / 127.
    """
    scales = np.maximum(np.abs(weights).max(axis=1) / 127, 1e-12).astype(np.float32)
    return np.clip(np.rint(weights / scales[:, None]), -127, 127).astype(np.int8), scales


def quantize_bias(bias: NDArray[np.float32], input_scale: float, scales: NDArray[np.float32]) -> NDArray[np.int32]:
    """Quantize a bias (channels,) to int32 with scale = input scale · weight scale, as the kernels add it."""
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(bias / (input_scale * scales.astype(np.float64))), limits.min, limits.max).astype(np.int32)
