"""Graph surgery: put a new classifier head behind a bottleneck, or cut off all that stands before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edged.vision.flatbuffer import affine_of, operator_name, pack, schema
from edged.vision.quantization import Affine, quantize_bias, quantize_weights_per_channel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cut_tail(model: Any, bottleneck: int, output: int) -> bytes:
    """Return, as a .tflite file, the operators between two tensors of an unpacked model; changes `model`.

    Args:
        model: An unpacked model, see `flatbuffer.unpack`.
        bottleneck: Index of the tensor that becomes the only input; its first dimension may be resized.
        output: Index of the tensor that becomes the only output.
    """
    subgraph = model.subgraphs[0]
    keep_what_makes(subgraph, output, given=bottleneck)
    for operator in subgraph.operators:
        if operator_name(model, operator) == "RESHAPE":
            free_the_batch(model, operator)
    subgraph.inputs, subgraph.outputs = [bottleneck], [output]
    drop_stale_descriptions(model)
    drop_unused(model)
    return pack(model)


def free_the_batch(model: Any, reshape: Any) -> None:
    """Let a RESHAPE to [1, …] follow the batch: [−1, …]."""
    subgraph = model.subgraphs[0]
    shape = [-1, *(int(size) for size in subgraph.tensors[int(reshape.outputs[0])].shape[1:])]
    if reshape.builtinOptions is not None:
        reshape.builtinOptions.newShape = shape
    if len(reshape.inputs) > 1:
        reshape.inputs = [int(reshape.inputs[0]), append_constant(model, "shape", np.array(shape, np.int32))]


def keep_what_makes(subgraph: Any, target: int, *, given: int | None = None) -> None:
    """Drop the operators that tensor `target` does not need, and those that only make tensor `given`."""
    needed, kept = {target} - {given}, []
    for operator in reversed(subgraph.operators):
        if needed & {int(index) for index in operator.outputs}:
            needed |= {int(index) for index in operator.inputs} - {given}
            kept.append(operator)
    subgraph.operators = kept[::-1]


def append_constant(model: Any, name: str, values: NDArray[Any], scales: NDArray[np.float32] | None = None) -> int:
    """Add an int8 or int32 constant with its buffer; `scales` is one per channel of the first dimension, or none."""
    generated = schema()
    buffer = generated.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    kind = generated.TensorType.INT8 if values.dtype == np.int8 else generated.TensorType.INT32
    zero_points = None if scales is None else [0] * len(scales)
    return _append_tensor(model, name, kind, list(values.shape), scales, zero_points, buffer=len(model.buffers) - 1)


def _append_tensor(
    model: Any,
    name: str,
    kind: int,
    shape: list[int],
    scales: NDArray[np.float32] | None,
    zero_points: list[int] | None,
    buffer: int = 0,
) -> int:
    generated, subgraph = schema(), model.subgraphs[0]
    tensor = generated.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.buffer = f"edged/{name}".encode(), kind, shape, buffer
    if scales is not None:
        quantization = generated.QuantizationParametersT()
        quantization.scale = np.asarray(scales, np.float32)
        quantization.zeroPoint = np.asarray(zero_points, np.int64)
        quantization.quantizedDimension = 0
        tensor.quantization = quantization
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1


def drop_stale_descriptions(model: Any) -> None:
    """Drop signatures and label metadata, which describe the old outputs."""
    model.signatureDefs = None
    model.metadata = [entry for entry in model.metadata or [] if entry.name == b"min_runtime_version"]


def drop_unused(model: Any) -> None:
    """Renumber tensors, buffers and operator codes so that the old head's weights do not stay in the file."""
    subgraph = model.subgraphs[0]
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


class HeadWriter:
    """Writes a new tail into an unpacked model; used once."""

    def __init__(self, model: Any, bottleneck: int, output_dtype: str) -> None:
        self._model = model
        self._subgraph = model.subgraphs[0]
        self._bottleneck = bottleneck
        self._output_dtype = output_dtype
        self._schema = schema()

    def write(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], logits_range: tuple[float, float]
    ) -> bytes:
        """Cut off what follows the bottleneck, append the new tail, drop what nothing uses any more."""
        generated, kinds = self._schema, self._schema.TensorType
        keep_what_makes(self._subgraph, self._bottleneck)
        classes, features = weights.shape
        source = self._subgraph.tensors[self._bottleneck]
        affine = affine_of(source)
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
        options = generated.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.padding = generated.Padding.VALID
        tensor = self._append(
            "CONV_2D",
            ("Conv2DOptions", options),
            [
                tensor,
                append_constant(self._model, "head/weights", kernel.reshape(classes, 1, 1, features), scales),
                append_constant(
                    self._model, "head/bias", quantize_bias(bias, affine.scale, scales), scales * affine.scale
                ),
            ],
            self._activation("logits_4d", [1, 1, 1, classes], logits),
        )
        tensor = self._reshape(tensor, "logits", [1, classes], logits)
        softmax = generated.SoftmaxOptionsT()
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
        drop_stale_descriptions(self._model)
        drop_unused(self._model)
        return pack(self._model)

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
        target = append_constant(self._model, f"{name}/shape", np.array(shape, np.int32))
        return self._append(
            "RESHAPE", ("ReshapeOptions", options), [tensor, target], self._activation(name, shape, affine)
        )

    def _activation(self, name: str, shape: list[int], affine: Affine, kind: int | None = None) -> int:
        kind = self._schema.TensorType.INT8 if kind is None else kind
        return _append_tensor(self._model, name, kind, shape, np.array([affine.scale], np.float32), [affine.zero_point])
