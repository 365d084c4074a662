"""Small quantized networks of every kind that edged is used with, made where a test runs.

Each is the first layers of the shipped MobileNetV2, so that its bottleneck tells photos apart, taken apart and put
together again as another converter would have written it: legacy uint8 with one scale per tensor, or int8 with one
per channel; another input size, width, pooling and head. The head is fitted to the photos that ship with the
demonstration, so each network calls them by their names, at the outputs where the real networks have these classes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edged.resources import shipped
from edged.store import read_labels
from edged.vision.flatbuffer import operator_name, pack, schema, unpack
from edged.vision.network import Network
from edged.vision.surgery import drop_unused, keep_what_makes
from tests.photos import shipped_photos, views

SHIPPED = shipped("models") / "mobilenet_v2"
_VIEWS = 10
_HIT, _MISS = 8.0, -4.0
"""Logits that a head is fitted to: a photo's own class, and all others."""
_LOGITS = (-10.0, 14.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a network is like.

    Attributes:
        like: The real file, without its suffix, that it stands for; empty where no real file is of this kind.
        size: Of the square input, pixels.
        cut: The operator of the shipped network whose output is pooled to the bottleneck.
        classes: Number of outputs; 1001 has ImageNet's after a background class, 1000 without, others have their own.
        legacy: uint8 with one scale per tensor, as TensorFlow 1 wrote it; else int8 with one scale per channel.
        head: The classifier head's operator.
        residual: With the shipped network's residual blocks, or without, as MobileNetV1 has none.
        softmax: Whether the outputs are scores or logits.
        stem: How the network begins and ends its pooled features: "plain", "padded" (PAD and MAX_POOL_2D, as in a
            ResNet) or "branched" (pools and convolutions side by side and a CONCATENATION, as in an Inception).
        signed: int8 images in and int8 scores out.
    """

    like: str
    size: int
    cut: int
    classes: int = 1001
    legacy: bool = True
    head: Literal["CONV_2D", "FULLY_CONNECTED"] = "CONV_2D"
    residual: bool = True
    softmax: bool = True
    stem: Literal["plain", "padded", "branched"] = "plain"
    signed: bool = False


KINDS = {
    "made_v1_128": Kind("mobilenet_v1_0.25_128_quant", 128, 23, residual=False),
    "made_v1_160": Kind("mobilenet_v1_0.5_160_quant", 160, 25, residual=False),
    "made_v1_192": Kind("mobilenet_v1_0.75_192_quant", 192, 40, residual=False),
    "made_v2_224": Kind("mobilenet_v2_1.0_224_quant", 224, 25),
    "made_birds": Kind("mobilenet_v2_1.0_224_inat_bird_quant", 224, 25, classes=965, head="FULLY_CONNECTED"),
    "made_insects": Kind("mobilenet_v2_1.0_224_inat_insect_quant", 224, 23, classes=1022, head="FULLY_CONNECTED"),
    "made_inception": Kind("inception_v3_299_quant", 299, 12, softmax=False, stem="branched"),
    "made_efficientnet": Kind(
        "efficientnet_lite0_224_uint8_ptq", 224, 25, classes=1000, legacy=False, head="FULLY_CONNECTED"
    ),
    "made_resnet": Kind(
        "resnet50_224_uint8_ptq", 224, 25, classes=1000, legacy=False, head="FULLY_CONNECTED", stem="padded"
    ),
    "made_signed": Kind("", 224, 25, classes=1000, legacy=False, head="FULLY_CONNECTED", signed=True),
}


@dataclass(frozen=True, slots=True)
class MadeNetwork:
    """A network and what its outputs mean.

    Attributes:
        model: Content of the .tflite file.
        labels: One per output.
        names: The label that it should give each photo, by the photo's file name.
    """

    model: bytes
    labels: tuple[str, ...]
    names: dict[str, str]

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.tflite` and `<name>.txt` into a folder; return both paths."""
        model, labels = folder / f"{name}.tflite", folder / f"{name}.txt"
        model.write_bytes(self.model)
        labels.write_text("".join(f"{label}\n" for label in self.labels), encoding="utf-8")
        return model, labels


@functools.cache
def made(name: str) -> MadeNetwork:
    """Return the network of `KINDS[name]`; the same bytes each time on one machine."""
    return make(KINDS[name])


def make(kind: Kind) -> MadeNetwork:
    """Make a network."""
    labels, names = _labels(kind)
    trunk = _Trunk(kind)
    features = trunk.features
    blank = trunk.with_head(np.zeros((kind.classes, features), np.float32), np.zeros(kind.classes, np.float32))
    weights, bias = _fitted(Network(blank), kind.classes, {file: labels.index(name) for file, name in names.items()})
    return MadeNetwork(trunk.with_head(weights, bias), labels, names)


def _labels(kind: Kind) -> tuple[tuple[str, ...], dict[str, str]]:
    """All labels in the order of the outputs, and the photos' among them."""
    photos = {path.name: label for path, label in shipped_photos().items()}
    if kind.classes in (1000, 1001):
        imagenet = read_labels(SHIPPED / "labels.txt")
        names = {
            file: next(label for label in imagenet if label.split(",")[0] == name) for file, name in photos.items()
        }
        return ("background", *imagenet)[1001 - kind.classes :], names
    names = {file: f"Exemplum {Path(file).stem}" for file in photos}
    own = [f"Species {number}" for number in range(kind.classes)]
    for place, name in enumerate(names.values()):
        own[100 * place + 7] = name
    return tuple(own), names


def _fitted(network: Network, classes: int, outputs: dict[str, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ridge regression from the bottlenecks of many views of each photo to the logits; the rest is noise."""
    rows, truth = [], []
    for path in shipped_photos():
        for view in views(path, _VIEWS):
            rows.append(network.infer(network.prepare(view)).embedding)
            truth.append(outputs[path.name])
    mean = np.mean(rows, axis=0)
    centred = np.asarray(rows, np.float64) - mean
    scale = np.sqrt(np.square(centred).mean())
    centred /= scale
    targets = np.where(np.asarray(truth)[:, None] == list(outputs.values()), _HIT, _MISS)
    gram = centred @ centred.T
    solved = centred.T @ np.linalg.solve(gram + 0.02 * np.trace(gram) / len(gram) * np.eye(len(gram)), targets - _MISS)
    random = np.random.default_rng(classes)
    weights = random.normal(scale=0.3 / np.sqrt(network.features), size=(classes, network.features))
    weights[list(outputs.values())] = solved.T
    weights /= scale
    return weights.astype(np.float32), (_MISS - weights @ mean).astype(np.float32)


class _Trunk:
    """The layers before a head, as bytes that are unpacked for each new head."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._model = unpack((SHIPPED / "model.tflite").read_bytes())
        self._graph = self._model.subgraphs[0]
        self._codes: dict[str, int] = {}
        target = int(self._graph.operators[kind.cut].outputs[0])
        if not kind.residual:
            self._drop_residual_blocks()
        if kind.stem == "padded":
            self._pad_and_pool()
        keep_what_makes(self._graph, target)
        self._resize(kind.size)
        self._model.signatureDefs, self._model.metadata = None, self._model.metadata[:1]
        if kind.legacy:
            self._make_legacy()
        if kind.stem == "branched":
            target = self._branch(target)
        self._bottleneck = self._pool(target)
        self.features = int(self._tensor(self._bottleneck).shape[-1])
        self._graph.outputs = [self._bottleneck]
        drop_unused(self._model)
        self._bytes = pack(self._model)

    def with_head(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> bytes:
        """Return the whole network with this classifier head, for real-valued bottlenecks."""
        self._model = unpack(self._bytes)
        self._graph = self._model.subgraphs[0]
        self._codes = {}
        self._add_head(int(self._graph.outputs[0]), weights, bias)
        return pack(self._model)

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _drop_residual_blocks(self) -> None:
        """Let each ADD's reader take the block's input instead: what the block computes is then read by nobody."""
        instead: dict[int, int] = {}
        for operator in self._graph.operators:
            operator.inputs = [instead.get(int(index), int(index)) for index in operator.inputs]
            if operator_name(self._model, operator) == "ADD":
                instead[int(operator.outputs[0])] = min(int(index) for index in operator.inputs)

    def _pad_and_pool(self) -> None:
        """Begin with PAD and an unpadded convolution, which compute the same, and halve with MAX_POOL_2D."""
        quantize, convolution, depthwise = self._graph.operators[:3]
        image = int(quantize.outputs[0])
        sides = self._constant("padding", np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
        padded = self._like(image, "padded")
        convolution.inputs = [padded, *convolution.inputs[1:]]
        convolution.builtinOptions.padding = schema().Padding.VALID
        before = int(convolution.outputs[0])
        pooled = self._like(before, "pooled")
        depthwise.inputs = [pooled, *depthwise.inputs[1:]]
        pad = self._operator("PAD", 2, [image, sides], padded, "PadOptions")
        pool = self._window("MAX_POOL_2D", 2, before, pooled, 2, stride=2)
        self._graph.operators = [quantize, pad, convolution, pool, *self._graph.operators[2:]]

    def _resize(self, size: int) -> None:
        """Give the input another size, and every activation what follows from it."""
        first = self._tensor(int(self._graph.inputs[0]))
        first.shape = [1, size, size, 3]
        for operator in self._graph.operators:
            source, target = (self._tensor(int(index)) for index in (operator.inputs[0], operator.outputs[0]))
            side, name = int(source.shape[1]), operator_name(self._model, operator)
            if name == "PAD":
                side += 1
            elif name in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D"):
                options = operator.builtinOptions
                lost = 0
                if options.padding == schema().Padding.VALID:
                    kernel = operator.inputs[1] if name == "CONV_2D" else None
                    lost = (options.filterHeight if kernel is None else self._tensor(int(kernel)).shape[1]) - 1
                side = -(-(side - int(lost)) // options.strideH)
            target.shape = [1, side, side, int(target.shape[3])]

    def _make_legacy(self) -> None:
        """Turn int8 with a scale per channel into uint8 with one scale per tensor: the same numbers, more coarsely."""
        model, graph, kinds = self._model, self._graph, schema().TensorType
        quantize = graph.operators.pop(0)
        graph.operators[0].inputs = [int(quantize.inputs[0]), *graph.operators[0].inputs[1:]]
        for operator in graph.operators:
            if operator_name(model, operator) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                source, kernel, bias = (self._tensor(int(index)) for index in operator.inputs)
                per_channel = np.asarray(kernel.quantization.scale, np.float64)
                shape = (1, 1, 1, -1) if kernel.quantization.quantizedDimension == 3 else (-1, 1, 1, 1)
                real = self._values(kernel, np.int8).reshape(kernel.shape) * per_channel.reshape(shape)
                one = self._set_legacy_weights(kernel, real)
                incoming = float(source.quantization.scale[0])
                biases = self._values(bias, np.int32) * per_channel * incoming
                self._set(bias, np.rint(biases / (incoming * one)).astype(np.int32), incoming * one, 0)
        for tensor in graph.tensors:
            if tensor.type == kinds.INT8 and not self._is_constant(tensor):
                tensor.type = kinds.UINT8
                tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint) + 128
        for code in model.operatorCodes:
            code.version = 1
        model.description = b"TOCO Converted."

    def _branch(self, source: int) -> int:
        """Halve, then look at it in three ways side by side: as it is, averaged, and mixed by a convolution."""
        before = self._tensor(source)
        side, channels = -(-int(before.shape[1]) // 2), int(before.shape[3])
        halved = self._like(source, "halved", [1, side, side, channels])
        self._append(self._window("MAX_POOL_2D", 1, source, halved, 3, stride=2))
        averaged = self._like(halved, "averaged")
        self._append(self._window("AVERAGE_POOL_2D", 1, halved, averaged, 3))
        mixed = self._like(halved, "mixed")
        scale = float(before.quantization.scale[0])
        self._tensor(mixed).quantization.scale = np.array([0.8 * scale], np.float32)
        mixing = np.random.default_rng(0).random((channels, 1, 1, channels)) ** 8
        kernel = self._activation("mixing", [channels, 1, 1, channels], 1.0, 0)
        self._tensor(kernel).buffer = self._buffer(b"")
        one = self._set_legacy_weights(self._tensor(kernel), mixing / mixing.sum(axis=3, keepdims=True))
        bias = self._constant("mixing/bias", np.zeros(channels, np.int32), scale * one)
        options = self._options("Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
        self._append(self._operator("CONV_2D", 1, [averaged, kernel, bias], mixed, options))
        joined = self._like(halved, "joined", [1, side, side, 3 * channels])
        options = self._options("ConcatenationOptions", axis=3)
        self._append(self._operator("CONCATENATION", 1, [halved, averaged, mixed], joined, options))
        return joined

    def _pool(self, source: int) -> int:
        shape = [int(size) for size in self._tensor(source).shape]
        if self._kind.legacy:
            pooled = self._like(source, "bottleneck", [1, 1, 1, shape[3]])
            options = self._options("Pool2DOptions", padding=1, strideH=shape[1], strideW=shape[2])
            options[1].filterHeight, options[1].filterWidth = shape[1:3]
            self._append(self._operator("AVERAGE_POOL_2D", 1, [source], pooled, options))
            return pooled
        pooled = self._like(source, "bottleneck", [1, shape[3]])
        scale = float(self._tensor(source).quantization.scale[0])
        self._tensor(pooled).quantization.scale = np.array([scale / 2], np.float32)  # of means, none is near the limit
        axes = self._constant("axes", np.array([1, 2], np.int32))
        self._append(self._operator("MEAN", 2, [source, axes], pooled, "ReducerOptions"))
        return pooled

    def _add_head(self, bottleneck: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        kind, classes = self._kind, len(weights)
        source = self._tensor(bottleneck)
        incoming = float(source.quantization.scale[0])
        shape = [classes, self.features] if kind.head == "FULLY_CONNECTED" else [classes, 1, 1, self.features]
        kernel = self._activation("head/weights", shape, 1.0, 0)
        self._tensor(kernel).buffer = self._buffer(b"")
        if kind.legacy:
            one = self._set_legacy_weights(self._tensor(kernel), weights.reshape(shape))
        else:
            one = max(float(np.abs(weights).max()) / 127, 1e-6)
            self._set(self._tensor(kernel), np.rint(weights / one).astype(np.int8), one, 0)
        biases = self._constant("head/bias", np.rint(bias / (incoming * one)).astype(np.int32), incoming * one)
        scale = (_LOGITS[1] - _LOGITS[0]) / 255
        zero = round(-_LOGITS[0] / scale) - (0 if kind.legacy else 128)
        inputs = [bottleneck, kernel, biases]
        if kind.head == "CONV_2D":
            options = self._options("Conv2DOptions", padding=1, strideH=1, strideW=1)
            options[1].dilationHFactor = options[1].dilationWFactor = 1
            deep = self._activation("logits_4d", [1, 1, 1, classes], scale, zero)
            self._append(self._operator("CONV_2D", 1 if kind.legacy else 3, inputs, deep, options))
            last = self._activation("logits", [1, classes], scale, zero)
            target = self._constant("logits/shape", np.array([1, classes], np.int32))
            options = self._options("ReshapeOptions", newShape=[1, classes])
            self._append(self._operator("RESHAPE", 1, [deep, target], last, options))
        else:
            last = self._activation("logits", [1, classes], scale, zero)
            options = self._options("FullyConnectedOptions")
            self._append(self._operator("FULLY_CONNECTED", 1 if kind.legacy else 4, inputs, last, options))
        if kind.softmax:
            scores = self._activation("scores", [1, classes], 1 / 256, 0 if kind.legacy else -128)
            options = self._options("SoftmaxOptions", beta=1.0)
            self._append(self._operator("SOFTMAX", 1 if kind.legacy else 2, [last], scores, options))
            last = scores
        if not kind.legacy and not kind.signed:
            outside = self._activation("scores_uint8", [1, classes], 1 / 256, 0)
            self._tensor(outside).type = schema().TensorType.UINT8
            self._append(self._operator("QUANTIZE", 1, [last], outside, "QuantizeOptions"))
            last = outside
        if kind.signed:
            self._graph.inputs = [int(self._graph.operators.pop(0).outputs[0])]
        self._graph.outputs = [last]
        drop_unused(self._model)

    # -- the schema's objects ------------------------------------------------------------------------------------------

    def _tensor(self, index: int) -> Any:
        return self._graph.tensors[index]

    def _is_constant(self, tensor: Any) -> bool:
        data = self._model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def _values(self, tensor: Any, dtype: type[np.generic]) -> NDArray[np.float64]:
        return np.frombuffer(bytes(bytearray(self._model.buffers[tensor.buffer].data)), dtype).astype(np.float64)

    def _set(self, tensor: Any, values: NDArray[Any], scale: float, zero: int) -> None:
        self._model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([zero], np.int64)
        tensor.quantization.quantizedDimension = 0

    def _set_legacy_weights(self, tensor: Any, real: NDArray[np.floating[Any]]) -> float:
        """Quantize weights over their whole range, with a zero point inside it; return the scale."""
        low, high = min(float(real.min()), 0.0), max(float(real.max()), 1e-6)
        scale = (high - low) / 255
        zero = round(-low / scale)
        self._set(tensor, np.clip(np.rint(real / scale) + zero, 0, 255).astype(np.uint8), scale, zero)
        tensor.type = schema().TensorType.UINT8
        return scale

    def _buffer(self, content: bytes) -> int:
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _constant(self, name: str, values: NDArray[np.int32], scale: float | None = None) -> int:
        index = self._activation(name, list(values.shape), 1.0, 0)
        tensor = self._tensor(index)
        tensor.type, tensor.buffer = schema().TensorType.INT32, self._buffer(values.tobytes())
        if scale is None:
            tensor.quantization = None
        else:
            tensor.quantization.scale = np.array([scale], np.float32)
        return index

    def _activation(self, name: str, shape: list[int], scale: float, zero: int) -> int:
        tensor, quantization = schema().TensorT(), schema().QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = np.array([scale], np.float32), np.array([zero], np.int64)
        tensor.name, tensor.shape, tensor.quantization, tensor.buffer = name.encode(), shape, quantization, 0
        kinds = schema().TensorType
        tensor.type = kinds.UINT8 if self._kind.legacy else kinds.INT8
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _like(self, index: int, name: str, shape: list[int] | None = None) -> int:
        """Add an activation that is quantized as another one."""
        other = self._tensor(index)
        scale, zero = float(other.quantization.scale[0]), int(other.quantization.zeroPoint[0])
        return self._activation(name, list(other.shape) if shape is None else shape, scale, zero)

    def _append(self, operator: Any) -> None:
        self._graph.operators.append(operator)

    def _operator(self, name: str, version: int, inputs: list[int], output: int, options: str | tuple[str, Any]) -> Any:
        operator = schema().OperatorT()
        if name not in self._codes:
            code = schema().OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema().BuiltinOperator, name)
            code.version = version
            self._model.operatorCodes.append(code)
            self._codes[name] = len(self._model.operatorCodes) - 1
        operator.opcodeIndex, operator.inputs, operator.outputs = self._codes[name], inputs, [output]
        kind, filled = self._options(options) if isinstance(options, str) else options
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema().BuiltinOptions, kind), filled
        return operator

    def _window(self, name: str, version: int, source: int, target: int, side: int, stride: int = 1) -> Any:
        options = self._options("Pool2DOptions", padding=0, strideH=stride, strideW=stride)  # 0: SAME
        options[1].filterHeight = options[1].filterWidth = side
        return self._operator(name, version, [source], target, options)

    @staticmethod
    def _options(kind: str, **values: Any) -> tuple[str, Any]:
        options = getattr(schema(), f"{kind}T")()
        for name, value in values.items():
            setattr(options, name, value)
        return kind, options
