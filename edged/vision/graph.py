"""Graph surgery: find the classifier head of a quantized .tflite, expose its input, put a new head in its place.

The schema module comes with the LiteRT wheel; only bytes go in and out, nothing is run here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edged.errors import ModelError
from edged.vision.quantization import Affine, quantize_bias, quantize_weights_per_channel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"TFL3"
# What may stand between the head and the output, and between the bottleneck and the head, without changing meaning.
_PASS_THROUGH = {"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE"}
_TAIL = _PASS_THROUGH | {"SOFTMAX"}


@functools.cache
def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise ModelError(
            "reading a model's graph needs the schema of ai-edge-litert: pip install ai-edge-litert"
        ) from error
    return schema_py_generated


@functools.cache
def _operator_names() -> dict[int, str]:
    return {code: name for name, code in vars(_schema().BuiltinOperator).items() if isinstance(code, int)}


@dataclass(frozen=True, slots=True)
class Input:
    """The image input.

    Attributes:
        height: Pixels.
        width: Pixels.
        dtype: "uint8" takes raw RGB; "int8" takes raw RGB minus 128.
    """

    height: int
    width: int
    dtype: Literal["uint8", "int8"]


@dataclass(frozen=True, slots=True)
class Head:
    """The classifier head: the last FULLY_CONNECTED, or 1×1 CONV_2D on a pooled tensor.

    Attributes:
        kind: The operator's name.
        features: Width of the bottleneck.
        classes: Number of outputs.
        softmax: Whether a SOFTMAX follows; without one the outputs are quantized logits.
    """

    kind: Literal["FULLY_CONNECTED", "CONV_2D"]
    features: int
    classes: int
    softmax: bool


class Graph:
    """A quantized image classifier, read from the bytes of a .tflite file.

    Args:
        model: The file's content.

    Raises:
        ModelError: Not a TFLite file, truncated, float, not an image network, or without a classifier head.
    """

    def __init__(self, model: bytes) -> None:
        self._model = _unpack(model)
        self._bytes = model
        if len(self._model.subgraphs or []) != 1:
            raise ModelError(f"has {len(self._model.subgraphs or [])} subgraphs; a classifier has 1")
        self._subgraph = self._model.subgraphs[0]
        self.input = self._read_input()
        self._head_operator, self.head = self._find_head()
        self._bottleneck = self._find_bottleneck()

    @property
    def bottleneck_quantization(self) -> Affine:
        """How bottleneck bytes become real numbers."""
        return self._affine(self._bottleneck)

    def expose_bottleneck(self) -> bytes:
        """Return the model with the bottleneck as its second output; the same bytes where it is one already."""
        outputs = [int(index) for index in self._subgraph.outputs]
        if outputs[1:2] == [self._bottleneck]:
            return self._bytes
        model = _unpack(self._bytes)
        model.subgraphs[0].outputs = [outputs[0], self._bottleneck]
        return _pack(model)

    def replace_head(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], logits_range: tuple[float, float]
    ) -> bytes:
        """Return the model with a new final layer and the bottleneck as its second output.

        The new tail is int8: [QUANTIZE →] [RESHAPE →] 1×1 CONV_2D → RESHAPE → SOFTMAX [→ QUANTIZE]. A convolution, because
        every TFLite runtime knows its per-channel form; QUANTIZE, because older graphs are uint8, which has none.

        Args:
            weights: (classes, features), for real-valued bottlenecks.
            bias: (classes,).
            logits_range: Least and greatest logit seen on training embeddings, for the activation's 8 bits.

        Raises:
            ModelError: Shapes do not fit the bottleneck, or a value is not finite.
        """
        classes, features = weights.shape
        if features != self.head.features or bias.shape != (classes,):
            raise ModelError(
                f"a head of shape {weights.shape} does not fit a bottleneck of {self.head.features} features"
            )
        if not (np.isfinite(weights).all() and np.isfinite(bias).all() and np.isfinite(logits_range).all()):
            raise ModelError("the new head has weights that are not finite")
        return _HeadWriter(_unpack(self._bytes), self._bottleneck, self._output_dtype()).write(
            weights, bias, logits_range
        )

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read_input(self) -> Input:
        if len(self._subgraph.inputs) != 1:
            raise ModelError(f"has {len(self._subgraph.inputs)} inputs; an image classifier has 1")
        tensor = self._tensor(int(self._subgraph.inputs[0]))
        shape = [int(size) for size in (tensor.shape if tensor.shape is not None else [])]
        dtype = self._dtype(tensor)
        if dtype not in ("uint8", "int8"):
            raise ModelError(f"input is {dtype}; a quantized model with uint8 or int8 input is needed")
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1:
            raise ModelError(f"input has shape {shape}; an RGB image [1, height, width, 3] is needed")
        return Input(height=shape[1], width=shape[2], dtype="uint8" if dtype == "uint8" else "int8")

    def _output_dtype(self) -> str:
        return self._dtype(self._tensor(int(self._subgraph.outputs[0])))

    def _find_head(self) -> tuple[Any, Head]:
        """Walk back from the first output over softmax and reshapes to the operator that makes the logits."""
        dtype = self._output_dtype()
        if dtype not in ("uint8", "int8"):
            raise ModelError(f"output is {dtype}; a quantized model with uint8 or int8 output is needed")
        producers = self._producers()
        softmax = False
        index = int(self._subgraph.outputs[0])
        while (operator := producers.get(index)) is not None:
            name = self._name(operator)
            if name not in _TAIL:
                break
            softmax = softmax or name == "SOFTMAX"
            index = int(operator.inputs[0])
        if operator is None or name not in ("FULLY_CONNECTED", "CONV_2D"):
            found = "nothing" if operator is None else name
            raise ModelError(
                f"no classifier head: the output comes from {found}, not from a FULLY_CONNECTED or 1×1 CONV_2D"
            )
        source, kernel = self._tensor(int(operator.inputs[0])), self._tensor(int(operator.inputs[1]))
        shape = [int(size) for size in kernel.shape]
        if name == "CONV_2D" and (shape[1:3] != [1, 1] or list(source.shape[1:3]) != [1, 1]):
            raise ModelError(
                f"no classifier head: the last CONV_2D has kernel {shape} and is not 1×1 on a pooled tensor"
            )
        if self._dtype(source) not in ("uint8", "int8"):
            raise ModelError(f"the classifier head works on {self._dtype(source)}; a fully quantized model is needed")
        kind: Literal["FULLY_CONNECTED", "CONV_2D"] = "CONV_2D" if name == "CONV_2D" else "FULLY_CONNECTED"
        return operator, Head(kind=kind, features=shape[-1], classes=shape[0], softmax=softmax)

    def _find_bottleneck(self) -> int:
        """The head's input; behind reshapes where an earlier surgery has exposed the tensor before them."""
        outputs = {int(index) for index in self._subgraph.outputs}
        producers = self._producers()
        start = index = int(self._head_operator.inputs[0])
        while index not in outputs:
            operator = producers.get(index)
            if operator is None or self._name(operator) not in _PASS_THROUGH:
                return start
            index = int(operator.inputs[0])
        return index

    def _producers(self) -> dict[int, Any]:
        return {int(index): operator for operator in self._subgraph.operators for index in operator.outputs}

    def _tensor(self, index: int) -> Any:
        return self._subgraph.tensors[index]

    def _name(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        # Codes below 127 stood in an 8-bit field that newer files keep filled.
        return _operator_names().get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")

    def _affine(self, index: int) -> Affine:
        return _affine(self._tensor(index))

    @staticmethod
    def _dtype(tensor: Any) -> str:
        return _dtype_names().get(tensor.type, f"type {tensor.type}")


@functools.cache
def _dtype_names() -> dict[int, str]:
    return {code: name.lower() for name, code in vars(_schema().TensorType).items() if isinstance(code, int)}


def _affine(tensor: Any) -> Affine:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        raise ModelError(f"tensor {tensor.name.decode(errors='replace')} has no per-tensor quantization")
    return Affine(scale=float(quantization.scale[0]), zero_point=int(quantization.zeroPoint[0]))


def _unpack(model: bytes) -> Any:
    schema = _schema()
    if len(model) < 16 or model[4:8] != _MAGIC:
        raise ModelError("not a TensorFlow Lite model (no TFL3 mark)")
    try:
        return schema.ModelT.InitFromPackedBuf(model, 0)
    except Exception as error:
        raise ModelError("truncated or damaged TensorFlow Lite model") from error


def _pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _MAGIC)
    return bytes(builder.Output())


class _HeadWriter:
    """Writes a new tail into an unpacked model; used once."""

    def __init__(self, model: Any, bottleneck: int, output_dtype: str) -> None:
        self._model = model
        self._subgraph = model.subgraphs[0]
        self._bottleneck = bottleneck
        self._output_dtype = output_dtype
        self._schema = _schema()

    def write(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], logits_range: tuple[float, float]
    ) -> bytes:
        """Cut off what follows the bottleneck, append the new tail, drop what nothing uses any more."""
        schema, kinds = self._schema, self._schema.TensorType
        self._keep_what_makes(self._bottleneck)
        classes, features = weights.shape
        source = self._subgraph.tensors[self._bottleneck]
        affine = _affine(source)
        tensor = self._bottleneck
        if source.type == kinds.UINT8:  # the same real numbers, 128 lower
            affine = Affine(affine.scale, affine.zero_point - 128)
            tensor = self._append(
                "QUANTIZE", None, [tensor], self._activation("bottleneck_int8", list(source.shape), affine)
            )
        if list(source.shape) != [1, 1, 1, features]:
            tensor = self._reshape(tensor, "bottleneck_4d", [1, 1, 1, features], affine)

        kernel, scales = quantize_weights_per_channel(weights)
        logits = Affine.from_range(*logits_range)
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.padding = schema.Padding.VALID
        tensor = self._append(
            "CONV_2D",
            ("Conv2DOptions", options),
            [
                tensor,
                self._constant("head/weights", kinds.INT8, kernel.reshape(classes, 1, 1, features), scales),
                self._constant(
                    "head/bias", kinds.INT32, quantize_bias(bias, affine.scale, scales), scales * affine.scale
                ),
            ],
            self._activation("logits_4d", [1, 1, 1, classes], logits),
        )
        tensor = self._reshape(tensor, "logits", [1, classes], logits)
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        # TFLite's int8 SOFTMAX demands this output quantization.
        tensor = self._append(
            "SOFTMAX",
            ("SoftmaxOptions", softmax),
            [tensor],
            self._activation("scores", [1, classes], Affine(1 / 256, -128)),
        )
        if self._output_dtype == "uint8":
            scores = self._activation("scores_uint8", [1, classes], Affine(1 / 256, 0), kinds.UINT8)
            tensor = self._append("QUANTIZE", None, [tensor], scores)
        self._subgraph.outputs = [tensor, self._bottleneck]
        self._drop_stale_descriptions()
        self._drop_unused()
        return _pack(self._model)

    def _keep_what_makes(self, target: int) -> None:
        needed, kept = {target}, []
        for operator in reversed(self._subgraph.operators):
            if needed & {int(index) for index in operator.outputs}:
                needed |= {int(index) for index in operator.inputs}
                kept.append(operator)
        self._subgraph.operators = kept[::-1]

    def _append(self, name: str, options: tuple[str, Any] | None, inputs: list[int], output: int) -> int:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._operator_code(name)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options[0])
            operator.builtinOptions = options[1]
        self._subgraph.operators.append(operator)
        return output

    def _operator_code(self, name: str) -> int:
        code = getattr(self._schema.BuiltinOperator, name)
        # Per-channel CONV_2D came with version 3, int8 SOFTMAX with 2, QUANTIZE of 8 bits with 2.
        version = {"CONV_2D": 3, "SOFTMAX": 2, "QUANTIZE": 2}.get(name, 1)
        entry = self._schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = version
        self._model.operatorCodes.append(entry)
        return len(self._model.operatorCodes) - 1

    def _reshape(self, tensor: int, name: str, shape: list[int], affine: Affine) -> int:
        options = self._schema.ReshapeOptionsT()
        options.newShape = shape
        target = self._constant(f"{name}/shape", self._schema.TensorType.INT32, np.array(shape, np.int32), None)
        return self._append(
            "RESHAPE", ("ReshapeOptions", options), [tensor, target], self._activation(name, shape, affine)
        )

    def _activation(self, name: str, shape: list[int], affine: Affine, kind: int | None = None) -> int:
        kind = self._schema.TensorType.INT8 if kind is None else kind
        return self._tensor(name, kind, shape, np.array([affine.scale], np.float32), [affine.zero_point], buffer=0)

    def _constant(self, name: str, kind: int, values: NDArray[Any], scales: NDArray[np.float32] | None) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        zero_points = None if scales is None else [0] * len(scales)
        return self._tensor(name, kind, list(values.shape), scales, zero_points, buffer=len(self._model.buffers) - 1)

    def _tensor(
        self,
        name: str,
        kind: int,
        shape: list[int],
        scales: NDArray[np.float32] | None,
        zero_points: list[int] | None,
        buffer: int,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = f"edged/{name}".encode(), kind, shape, buffer
        if scales is not None:
            quantization = self._schema.QuantizationParametersT()
            quantization.scale = np.asarray(scales, np.float32)
            quantization.zeroPoint = np.asarray(zero_points, np.int64)
            quantization.quantizedDimension = 0
            tensor.quantization = quantization
        self._subgraph.tensors.append(tensor)
        return len(self._subgraph.tensors) - 1

    def _drop_stale_descriptions(self) -> None:
        """Signatures and label metadata describe the old outputs."""
        self._model.signatureDefs = None
        self._model.metadata = [entry for entry in self._model.metadata or [] if entry.name == b"min_runtime_version"]

    def _drop_unused(self) -> None:
        """Renumber tensors, buffers and operator codes so that the old head's weights do not stay in the file."""
        subgraph, model = self._subgraph, self._model
        tensors = {int(i) for op in subgraph.operators for i in [*op.inputs, *op.outputs] if i >= 0}
        tensors |= {int(i) for i in [*subgraph.inputs, *subgraph.outputs]}
        tensor_at = {old: new for new, old in enumerate(sorted(tensors))}
        subgraph.tensors = [subgraph.tensors[old] for old in tensor_at]
        for operator in subgraph.operators:
            operator.inputs = [tensor_at.get(int(i), -1) for i in operator.inputs]
            operator.outputs = [tensor_at[int(i)] for i in operator.outputs]
        subgraph.inputs = [tensor_at[int(i)] for i in subgraph.inputs]
        subgraph.outputs = [tensor_at[int(i)] for i in subgraph.outputs]

        buffers = {0} | {tensor.buffer for tensor in subgraph.tensors} | {entry.buffer for entry in model.metadata}
        buffer_at = {old: new for new, old in enumerate(sorted(buffers))}
        model.buffers = [model.buffers[old] for old in buffer_at]
        for holder in [*subgraph.tensors, *model.metadata]:
            holder.buffer = buffer_at[holder.buffer]

        codes = {operator.opcodeIndex for operator in subgraph.operators}
        code_at = {old: new for new, old in enumerate(sorted(codes))}
        model.operatorCodes = [model.operatorCodes[old] for old in code_at]
        for operator in subgraph.operators:
            operator.opcodeIndex = code_at[operator.opcodeIndex]
