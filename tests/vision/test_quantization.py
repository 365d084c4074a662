import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.quantization import Affine, quantize_bias, quantize_weights_per_channel


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantize_undoes_dequantize(dtype: type[np.uint8] | type[np.int8]) -> None:
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1).astype(dtype)
    affine = Affine(0.023528477, 3)
    np.testing.assert_array_equal(affine.quantize(affine.dequantize(values), dtype), values)


def test_quantize_saturates() -> None:
    real = np.array([-1e9, 1e9], np.float32)
    np.testing.assert_array_equal(Affine(0.1, 0).quantize(real, np.int8), [-128, 127])


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_a_range_is_covered_and_zero_is_exact(low: float, width: float) -> None:
    affine = Affine.from_range(low, low + width)
    ends = affine.dequantize(np.array([-128, 127], np.int8))
    assert -128 <= affine.zero_point <= 127
    slack = affine.scale * 1.01 + 1e-3
    assert ends[0] <= min(low, 0) + slack
    assert ends[1] >= max(low + width, 0) - slack
    assert affine.dequantize(np.array([affine.zero_point], np.int8))[0] == 0


def test_weights_keep_their_sign_and_scale_per_channel() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32) * [[1], [10], [0.01], [0]]
    quantized, scales = quantize_weights_per_channel(weights.astype(np.float32))
    assert quantized.dtype == np.int8
    assert quantized.min() >= -127
    assert (abs(quantized * scales[:, None] - weights) <= scales[:, None] * 0.5001).all()


def test_a_bias_beyond_32_bits_saturates() -> None:
    quantized = quantize_bias(np.array([1e9, -1e9, 1.0], np.float32), 1e-3, np.array([1e-6, 1e-6, 1e-3], np.float32))
    np.testing.assert_array_equal(quantized, [2**31 - 1, -(2**31), 1_000_000])
