"""MobileNetV2 in Keras: folding, rounding to int8 with bias correction, and the quantized flatbuffer.

Imports TensorFlow: never import this in the daemon or at the top of a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from edged.vision.preprocess import IMAGENET_CROP, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Image

    Floats = NDArray[np.float32]
    Weights = dict[str, tuple[Floats, Floats]]
    """Layer name → kernel (height, width, in, out), bias (out,)."""

SIDE = 224
"""Width and height of the network's input, pixels."""
STRIDE_2 = {1, 3, 6, 13}
"""Blocks whose depthwise convolution halves the picture."""


def prepare(image: Image) -> Image:
    """Cut an RGB photo of any size to the network's input: (224, 224, 3) uint8."""
    return fit(image, SIDE, SIDE, IMAGENET_CROP)


def keras_input(prepared: Image) -> Floats:
    """Return a prepared photo as Keras' MobileNetV2 takes it: (1, 224, 224, 3), 0..255 scaled to −1..1."""
    return prepared[np.newaxis].astype(np.float32) / np.float32(127.5) - np.float32(1)


def fold(model: Any) -> Weights:
    """Return kernels and biases with the batch normalization folded in: k' = k·γ/√(v+ε), b' = β − μ·γ/√(v+ε)."""
    folded: Weights = {}
    for layer in model.layers:
        if not isinstance(layer, (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D)):
            continue
        name = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(layer.name, f"{layer.name}_BN")
        norm = model.get_layer(name)
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        (kernel,) = layer.get_weights()
        along = factor[:, None] if "depthwise" in layer.name else factor  # a depthwise kernel is (3, 3, channels, 1)
        folded[layer.name] = (kernel * along, beta - mean * factor)
    kernel, bias = model.layers[-1].get_weights()
    return folded | {"logits": (kernel, bias)}


def network(weights: Weights) -> Any:
    """Build MobileNetV2 (Sandler et al. 2018, table 2) of folded weights; (n, 224, 224, 3) to softmax (n, classes).

    Strided convolutions use SAME padding, which equals Keras' own PAD + VALID at 224 and saves the PAD operators.
    """
    layers = tf.keras.layers

    def conv(x: Any, name: str, stride: int = 1, relu6: bool = True) -> Any:
        kernel, bias = weights[name]
        options: dict[str, Any] = {"padding": "same", "name": name, "weights": [kernel, bias], "strides": stride}
        if "depthwise" in name:
            x = layers.DepthwiseConv2D(3, **options)(x)
        else:
            x = layers.Conv2D(kernel.shape[-1], kernel.shape[0], **options)(x)
        return layers.ReLU(6.0)(x) if relu6 else x

    image = layers.Input((SIDE, SIDE, 3))
    x = conv(image, "Conv1", 2)
    x = conv(x, "expanded_conv_depthwise")
    x = conv(x, "expanded_conv_project", relu6=False)
    for block in range(1, 17):
        y = conv(x, f"block_{block}_expand")
        y = conv(y, f"block_{block}_depthwise", 2 if block in STRIDE_2 else 1)
        y = conv(y, f"block_{block}_project", relu6=False)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = layers.GlobalAveragePooling2D()(conv(x, "Conv_1"))
    kernel, bias = weights["logits"]
    x = layers.Dense(kernel.shape[-1], name="logits", weights=[kernel, bias])(x)
    return tf.keras.Model(image, layers.Softmax()(x))


def round_weights(weights: Weights, photos: Sequence[Image]) -> Weights:
    """Return weights on their int8 grid (127 steps to the largest one, per output channel), with corrected biases.

    Rounding a kernel by Δ moves the mean output of a channel by mean(Δ ∗ x), which a bias takes back (Nagel et al.,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2). A convolution is
    linear, so the mean input of each layer is all that is needed of the prepared photos. The converter finds the same
    grid.
    """
    model = network(weights)
    inputs = tf.function(tf.keras.Model(model.input, {name: model.get_layer(name).input for name in weights}))
    total: dict[str, Any] = dict.fromkeys(weights, 0.0)
    for photo in photos:
        for name, x in inputs(keras_input(photo)).items():
            total[name] = total[name] + x.numpy().astype(np.float64)
    rounded: Weights = {}
    for name, (kernel, bias) in weights.items():
        axes = (0, 1) if "depthwise" in name else (0, 1, 2)
        # TFLite quantizes a convolution per channel and a dense layer per tensor.
        step = np.abs(kernel).max(None if name == "logits" else axes, keepdims=True) / 127
        on_grid = (np.round(kernel / step) * step).astype(np.float32)
        layer, x = model.get_layer(name), (total[name] / len(photos)).astype(np.float32)
        layer.set_weights([on_grid - kernel, np.zeros_like(bias)])
        shift = layer(x).numpy().reshape(-1, len(bias)).mean(0)
        rounded[name] = (on_grid, bias - shift)
    return rounded


def convert(model: Any, photos: Sequence[Image]) -> bytes:
    """Return the quantized flatbuffer of a float network: batch of one, int8 inside, uint8 in and out.

    Args:
        model: As `network` returns it.
        photos: Prepared; activations are calibrated on them.
    """
    call = tf.function(model).get_concrete_function(tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([keras_input(photo)] for photo in photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())
