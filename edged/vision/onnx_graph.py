"""What an .onnx classifier is: its input, its classifier head, its bottleneck. Only bytes go in and out.

`OnnxGraph` has the port of `graph.Graph`. A network that edged runs takes RGB bytes, (batch, height, width, 3), and
keeps its bottleneck in 8 bits: `onnx_conversion` writes such files, `onnx_adoption` makes them of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edged.errors import ModelError
from edged.vision.head import Head, Input, check_head
from edged.vision.onnx_file import Model, Node, Value, damage_as_model_error, read, write
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESHAPES = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""What gives the same values another shape, or none at all."""
_TAIL = RESHAPES | {"Cast", "DequantizeLinear", "LogSoftmax", "QuantizeLinear", "Softmax"}
"""What may follow a head. Logarithms of scores are logits: they differ from those of the head by one number."""
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"})
_NOT_POOLS = frozenset({"Conv", "Gemm", "MatMul", "Concat"})
_FOLDED = frozenset({"Identity", "Cast", "Transpose", "DequantizeLinear", "QuantizeLinear"})
"""What exporters put behind weights; see `_folded`. None reads more than three tensors."""
_EIGHT_BITS = (np.uint8, np.int8)


@dataclass(frozen=True, slots=True)
class FoundHead:
    """Where a classifier's head stands.

    Attributes:
        node: Gemm, MatMul or Conv.
        source: Name of the real numbers that it reads.
        weights: (classes, features), real.
        softmax: Whether a Softmax follows.
    """

    node: Node
    source: str
    weights: NDArray[np.float32]
    softmax: bool


class Tensors:
    """Who makes which tensor of a file, and what the constant ones hold."""

    def __init__(self, file: Model) -> None:
        self._file = file
        self.producers = {name: node for node in file.nodes for name in node.outputs}

    def passed(self, name: str, passing: frozenset[str]) -> tuple[str, list[str]]:
        """Return the first tensor before `name` whose operator is not `passing`, and the operators passed."""
        ops: list[str] = []
        while (node := self.producers.get(name)) is not None and node.op in passing and node.inputs:
            ops.append(node.op)
            if len(ops) > len(self.producers):  # only a damaged file has a cycle
                raise ModelError("truncated or damaged ONNX model")
            name = node.inputs[0]
        return name, ops

    def constant(self, name: str, depth: int = 0) -> NDArray[Any] | None:
        """Return what a tensor always holds; None: it depends on the input."""
        if name in self._file.constants:
            return self._file.constants[name]
        node = self.producers.get(name)
        if node is None or depth > 8:
            return None
        if node.op == "Constant":
            value = node.attributes.get("value")
            return value if isinstance(value, np.ndarray) else None
        if node.op not in _FOLDED:
            return None
        given: list[NDArray[Any]] = []
        for each in filter(None, node.inputs[:3]):
            if (value := self.constant(each, depth + 1)) is None:
                return None
            given.append(value)
        return _folded(node, given) if given else None

    def affine(self, node: Node) -> Affine | None:
        """Return the one scale and zero point of a QuantizeLinear or DequantizeLinear; None: it has others."""
        scale = self.constant(node.inputs[1])
        zero = self.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.array(0, np.uint8)
        if scale is None or zero is None or scale.size != 1 or zero.dtype.type not in _EIGHT_BITS:
            return None
        value = float(scale.reshape(-1)[0])
        if not (np.isfinite(value) and value > 0):
            raise ModelError(f"tensor {node.inputs[0]} has quantization scale {value}; a positive number is needed")
        return Affine(value, int(zero.reshape(-1)[0]))

    def zero_dtype(self, node: Node) -> type[np.generic]:
        """Return the type of the 8-bit side of a QuantizeLinear or DequantizeLinear."""
        zero = self.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        return np.uint8 if zero is None else zero.dtype.type


def _folded(node: Node, given: list[NDArray[Any]]) -> NDArray[Any] | None:
    """What an operator that exporters put behind weights makes of them."""
    first = given[0]
    if node.op in ("Identity", "Cast") and first.dtype.kind == "f":
        return first.astype(np.float32)
    if node.op == "Identity":
        return first
    if node.op == "Transpose":
        order = node.attributes.get("perm")
        return np.asarray(first.transpose([int(axis) for axis in order] if isinstance(order, tuple) else None))
    if node.op not in ("DequantizeLinear", "QuantizeLinear") or len(given) < 2:
        return None
    axis = node.attributes.get("axis", 1)
    scale, zero = given[1], given[2] if len(given) > 2 else np.zeros_like(given[1], np.uint8)
    if scale.size > 1:
        shape = [1] * first.ndim
        shape[int(axis) if isinstance(axis, int) else 1] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    if node.op == "DequantizeLinear":
        return np.asarray((first.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(np.rint(first / scale) + zero, limits.min, limits.max), zero.dtype)


def find_head(file: Model, tensors: Tensors) -> FoundHead:
    """Walk back from the first output to the operator that makes the logits.

    Raises:
        ModelError: There is no classifier head.
    """
    if not file.outputs:
        raise ModelError("has no output; a classifier has 1")
    name, passed = tensors.passed(file.outputs[0].name, _TAIL)
    node = tensors.producers.get(name)
    if node is not None and node.op == "Add":  # a bias of its own
        rest = [each for each in node.inputs if tensors.constant(each) is None]
        before, _ = tensors.passed(rest[0], frozenset({"Identity"})) if len(rest) == 1 else ("", [])
        node = tensors.producers.get(before)
        node = node if node is not None and node.op == "MatMul" else None
    if node is None or node.op not in ("Gemm", "MatMul", "Conv"):
        kind = "nothing" if node is None else node.op
        raise ModelError(f"no classifier head: the output comes from {kind}, not from a Gemm, MatMul or 1×1 Conv")
    weights = tensors.constant(node.inputs[1])
    if weights is None:
        raise ModelError(f"no classifier head: the weights of the last {node.op} are no constants")
    return FoundHead(node, node.inputs[0], _as_rows(node, weights, tensors), "Softmax" in passed)


def _as_rows(node: Node, weights: NDArray[Any], tensors: Tensors) -> NDArray[np.float32]:
    """Weights of a head as (classes, features)."""
    if node.op == "Conv":
        if weights.ndim != 4 or weights.shape[2:] != (1, 1) or not _is_pooled(node.inputs[0], tensors):
            raise ModelError(f"no classifier head: the last Conv has kernel {weights.shape} and is not 1×1 on a pool")
        return weights.reshape(weights.shape[:2]).astype(np.float32)
    if weights.ndim != 2 or node.attributes.get("transA", 0):
        raise ModelError(f"no classifier head: the last {node.op} has weights of shape {weights.shape}")
    rows = weights if node.op == "Gemm" and node.attributes.get("transB", 0) else weights.T
    alpha = node.attributes.get("alpha", 1.0)
    return rows.astype(np.float32) * np.float32(alpha if isinstance(alpha, float) else 1.0)


def _is_pooled(name: str, tensors: Tensors) -> bool:
    for _ in tensors.producers:
        node = tensors.producers.get(name)
        if node is None or (node.op in _NOT_POOLS and not _keeps_size(node, tensors)):
            return False
        if node.op in _POOLS:
            return True
        name = node.inputs[0]
    return False


def _keeps_size(node: Node, tensors: Tensors) -> bool:
    """Tell whether an operator is a 1×1 Conv, which a pooled tensor stays one through: MobileNetV3's last but one."""
    weights = tensors.constant(node.inputs[1]) if node.op == "Conv" and len(node.inputs) > 1 else None
    pads = node.attributes.get("pads", ())
    return weights is not None and weights.shape[2:] == (1, 1) and isinstance(pads, tuple) and not any(pads)


def eight_bit_source(source: str, tensors: Tensors) -> Node | None:
    """Return the DequantizeLinear whose values a head reads, with nothing between but reshapes; None: there is none."""
    name, _ = tensors.passed(source, RESHAPES)
    node = tensors.producers.get(name)
    found = node is not None and node.op == "DequantizeLinear" and tensors.constant(node.inputs[0]) is None
    return node if found else None


def quantization_of(file: Model, name: str) -> tuple[float, int]:
    """Return the scale and zero point of an output; 1 and 0 of real numbers.

    Raises:
        ModelError: It is 8-bit, and the file does not tell.
    """
    value = next(each for each in file.outputs if each.name == name)
    if value.dtype.kind == "f":
        return 1.0, 0
    tensors = Tensors(file)
    before, _ = tensors.passed(name, RESHAPES | {"Transpose"})
    near = [node for node in file.nodes if node.op == "DequantizeLinear" and node.inputs[0] == before]
    producer = tensors.producers.get(before)
    if producer is not None and producer.op == "QuantizeLinear":
        near.append(producer)
    for node in near:
        if (affine := tensors.affine(node)) is not None:
            return affine.scale, affine.zero_point
    raise ModelError(f"output {name} has no per-tensor quantization")


class OnnxGraph:
    """An image classifier, read from the bytes of an .onnx file.

    Args:
        model: The file's content.

    Attributes:
        input: The image input.
        head: The classifier head.
        bottleneck_quantization: How bottleneck bytes become real numbers.
        bottleneck_dtype: "uint8" or "int8".

    Raises:
        ModelError: Not ONNX, truncated, no image network, without a classifier head, or its bottleneck is not kept in
            8 bits.
    """

    def __init__(self, model: bytes) -> None:
        self._bytes = model
        with damage_as_model_error():
            self._file = read(model)
            if len(self._file.outputs) not in (1, 2):
                raise ModelError(f"has {len(self._file.outputs)} outputs; a classifier has 1")
            self.input = self._read_input()
            self._tensors = Tensors(self._file)
            self._found = find_head(self._file, self._tensors)
            source = eight_bit_source(self._found.source, self._tensors)
            affine = None if source is None else self._tensors.affine(source)
            if source is None or affine is None:
                raise ModelError("its bottleneck is not kept in 8 bits; `edged models add` makes it so")
            self._bottleneck = source.inputs[0]
            self.bottleneck_quantization: Affine = affine
            self.bottleneck_dtype: str = np.dtype(self._tensors.zero_dtype(source)).name
            classes, features = self._found.weights.shape
            kind: Literal["FULLY_CONNECTED", "CONV_2D"] = (
                "CONV_2D" if self._found.node.op == "Conv" else "FULLY_CONNECTED"
            )
            self.head = Head(kind=kind, features=features, classes=classes, softmax=self._found.softmax)

    @property
    def file(self) -> Model:
        """What the file holds; nobody changes it."""
        return self._file

    @property
    def bottleneck_tensor(self) -> str:
        """Name of the 8-bit tensor that the head reads."""
        return self._bottleneck

    @property
    def outputs(self) -> tuple[Literal["scores", "logits"], Literal["bottleneck"]] | None:
        """What a bundle's manifest says of the outputs; None where the bottleneck is not the second one."""
        if len(self._file.outputs) != 2:
            return None
        if self._tensors.passed(self._file.outputs[1].name, RESHAPES)[0] != self._bottleneck:
            return None
        return "scores" if self.head.softmax else "logits", "bottleneck"

    def expose_bottleneck(self) -> bytes:
        """Return the model with the bottleneck as its second output; the same bytes where it is one already."""
        if self.outputs is not None:
            return self._bytes
        nodes = [*self._file.nodes, self._flatten()]
        return self._written(nodes, {}, [self._file.outputs[0], self._exposed])

    def replace_head(
        self,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        logits_range: tuple[float, float],
    ) -> bytes:
        """Return the model with a new final layer and the bottleneck as its second output.

        The new tail computes real numbers: it is small, and every provider has it.

        Args:
            weights: (classes, features), for real-valued bottlenecks.
            bias: (classes,).
            logits_range: Not needed here, see `graph.Graph.replace_head`.

        Raises:
            ModelError: Shapes do not fit the bottleneck, or a value is not finite.
        """
        check_head(self.head, weights, bias, logits_range)
        affine = self.bottleneck_quantization
        constants: dict[str, NDArray[Any]] = {
            "edged/scale": np.array(affine.scale, np.float32),
            "edged/zero": np.array(affine.zero_point, np.dtype(self.bottleneck_dtype)),
            "edged/weights": np.ascontiguousarray(weights, np.float32),
            "edged/bias": np.asarray(bias, np.float32),
        }
        tail = [
            self._flatten(),
            Node("DequantizeLinear", [self._bottleneck, "edged/scale", "edged/zero"], ["edged/real"]),
            Node("Flatten", ["edged/real"], ["edged/features"], {"axis": 1}),
            Node("Gemm", ["edged/features", "edged/weights", "edged/bias"], ["edged/logits"], {"transB": 1}),
            Node("Softmax", ["edged/logits"], ["edged/scores"], {"axis": -1}),
        ]
        nodes = [*needed_for(self._file.nodes, {self._bottleneck}), *tail]
        scores = Value("edged/scores", np.dtype(np.float32), (self._batch, len(weights)))
        return self._written(nodes, constants, [scores, self._exposed])

    def head_weights(self) -> NDArray[np.float32]:
        """Return the weights of the classifier head, (classes, features), for real-valued bottlenecks."""
        return self._found.weights

    def head_only(self) -> bytes:
        """Return what stands behind the bottleneck as a model of its own, for judging a head on cached bottlenecks.

        Its input is the bottleneck, (batch, features); its output is the whole graph's first output.
        """
        scores = self._file.outputs[0]
        shape = [-1, self.head.features, *([1, 1] if self.head.kind == "CONV_2D" else [])]
        first = Node("Reshape", ["edged/input", "edged/input_shape"], [self._bottleneck])
        nodes = [first, *needed_for(self._file.nodes, {scores.name}, given=self._bottleneck)]
        value = Value("edged/input", np.dtype(self.bottleneck_dtype), (None, self.head.features))
        constants = {**self._file.constants, "edged/input_shape": np.array(shape, np.int64)}
        free = Value(scores.name, scores.dtype, (None, *scores.shape[1:]))
        return write(used(Model(nodes, constants, [value], [free], self._file.opsets, self._file.ir_version)))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _read_input(self) -> Input:
        if len(self._file.inputs) != 1:
            raise ModelError(f"has {len(self._file.inputs)} inputs; an image classifier has 1")
        value = self._file.inputs[0]
        if value.dtype != np.uint8:
            raise ModelError(f"input is {value.dtype}; one of RGB bytes is needed, which `edged models add` makes")
        if len(value.shape) != 4 or value.shape[3] != 3 or value.shape[1] is None or value.shape[2] is None:
            raise ModelError(f"input has shape {value.shape}; an RGB image (batch, height, width, 3) is needed")
        return Input(height=value.shape[1], width=value.shape[2], dtype="uint8")

    @property
    def _batch(self) -> int | None:
        return self._file.inputs[0].shape[0]

    @property
    def _exposed(self) -> Value:
        return Value("edged/bottleneck", np.dtype(self.bottleneck_dtype), (self._batch, self.head.features))

    def _flatten(self) -> Node:
        return Node("Flatten", [self._bottleneck], ["edged/bottleneck"], {"axis": 1})

    def _written(self, nodes: list[Node], constants: dict[str, NDArray[Any]], outputs: list[Value]) -> bytes:
        file = self._file
        constants = {**file.constants, **constants}
        return write(used(Model(nodes, constants, file.inputs, outputs, file.opsets, file.ir_version)))


def needed_for(nodes: list[Node], targets: set[str], *, given: str | None = None) -> list[Node]:
    """Return the operators that make `targets`, in their order; those that only make `given` are not needed."""
    wanted, kept = targets - {given}, []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs) - {given}
            kept.append(node)
    return kept[::-1]


def used(file: Model) -> Model:
    """Return a model without the constants that nothing reads."""
    read_by = {name for node in file.nodes for name in node.inputs}
    constants = {name: values for name, values in file.constants.items() if name in read_by}
    return Model(file.nodes, constants, file.inputs, file.outputs, file.opsets, file.ir_version)
