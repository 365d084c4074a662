"""Layers on real models: all there, adding up, and nothing else than the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.lab.profiling.layers import profile_layers
from tests.conftest import HAS_SHARED_DATA
from tests.vision.conftest import network_file, noise_for

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize("runtime", ["litert", "tflite_runtime"])
def test_the_layers_explain_the_whole(model: bytes, noise: NDArray[np.uint8], runtime: str) -> None:
    pytest.importorskip({"litert": "ai_edge_litert", "tflite_runtime": "tflite_runtime"}[runtime])
    # Processor time, so a busy machine does not matter much; but what else is in its caches does, now and then.
    for _ in range(10):
        layers, whole = profile_layers(model, noise[:1], runtime=runtime, rounds=12, seconds=10)
        if 0.8 < whole.explained < 1.25:
            break
    assert 0.8 < whole.explained < 1.25, "10 % is what the report promises of a quiet machine"
    assert whole.exact
    assert len(layers) == 67
    assert sum(layer.share for layer in layers) == pytest.approx(1, abs=1e-3)
    assert sum(layer.ms for layer in layers) == pytest.approx(whole.sum_ms, rel=1e-3)
    (slowest,) = [layer for layer in layers if layer.slowest]
    assert slowest.ms == max(layer.ms for layer in layers)
    assert (layers[0].op, layers[0].input_shape) == ("QUANTIZE", (1, 224, 224, 3))


NAMES = ["made_v1_128", "made_birds", "made_inception", "made_resnet"]
NAMES += ["mobilenet_v1_0.25_128_quant", "efficientnet_lite0_224_uint8_ptq"] if HAS_SHARED_DATA else []


@pytest.mark.parametrize("name", NAMES)
def test_the_chain_of_every_kind_is_exact(name: str) -> None:
    model = network_file(name)
    _, whole = profile_layers(model, noise_for(model, 1), runtime="litert", rounds=3, seconds=1)
    assert whole.exact
