"""What an operator has to do, counted from the graph: multiply-accumulates, parameters, activation bytes."""

from __future__ import annotations

import math
from typing import Any

from edged.contract.reports import OperatorCost
from edged.lab.profiling.cutting import is_constant
from edged.vision.flatbuffer import damage_as_model_error, dtype_name, operator_name

_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_ELEMENTWISE = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "PRELU", "SQUARED_DIFFERENCE"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}
_BYTES = {"float32": 4, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "float16": 2, "int16": 2}


def costs(model: Any) -> list[OperatorCost]:
    """Return the cost of each operator of an unpacked model, in the order of execution."""
    with damage_as_model_error():
        return [_cost(model, operator) for operator in model.subgraphs[0].operators]


def macs(op: str, source: tuple[int, ...], target: tuple[int, ...], kernel: tuple[int, ...]) -> int:
    """Count multiply-accumulates for one image, padding included as the literature does.

    CONV_2D: |output| · kh · kw · input channels per group; DEPTHWISE_CONV_2D and pools: |output| · kh · kw;
    FULLY_CONNECTED: |output| · inputs; TRANSPOSE_CONV: |input| · kh · kw · output channels (Dumoulin & Visin, "A guide
    to convolution arithmetic for deep learning"). An addition or comparison alone counts as one too: element-wise
    operators have |output| of them, reductions |input|. Copies and look-ups (RESHAPE, CONCATENATION, PAD, QUANTIZE,
    SOFTMAX) have none.

    Args:
        op: The operator's name.
        source: Shape of the input.
        target: Shape of the output.
        kernel: Shape of the weights: CONV_2D (out, kh, kw, in), DEPTHWISE_CONV_2D (1, kh, kw, out), FULLY_CONNECTED
            (out, in), TRANSPOSE_CONV (out, kh, kw, in); of a pool (kh, kw); else ().
    """
    outputs = math.prod(target)
    if op in ("CONV_2D", "FULLY_CONNECTED"):
        return outputs * math.prod(kernel[1:])
    if op == "DEPTHWISE_CONV_2D":
        return outputs * math.prod(kernel[1:3])
    if op == "TRANSPOSE_CONV":
        return math.prod(source) * math.prod(kernel[:3])
    if op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        return outputs * math.prod(kernel)
    if op in _ELEMENTWISE:
        return outputs
    return math.prod(source) if op in _REDUCTIONS else 0


def arena_bytes(model: Any) -> int:
    """Return the most bytes of activations that are alive at once for one image: what a batch multiplies.

    A tensor lives from the operator that makes it to the last that reads it (or to the end, for an output).
    """
    with damage_as_model_error():
        subgraph = model.subgraphs[0]
        last = {int(i): place for place, op in enumerate(subgraph.operators) for i in op.inputs}
        last |= {int(index): len(subgraph.operators) for index in subgraph.outputs}
        alive = {int(index): _tensor_bytes(subgraph.tensors[int(index)]) for index in subgraph.inputs}
        peak = sum(alive.values())
        for place, operator in enumerate(subgraph.operators):
            alive |= {int(index): _tensor_bytes(subgraph.tensors[int(index)]) for index in operator.outputs}
            peak = max(peak, sum(alive.values()))
            alive = {index: size for index, size in alive.items() if last.get(index, -1) > place}
    return peak


def _tensor_bytes(tensor: Any) -> int:
    return math.prod(_shape(tensor)) * _BYTES.get(dtype_name(tensor), 1)


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def _cost(model: Any, operator: Any) -> OperatorCost:
    tensors, op = model.subgraphs[0].tensors, operator_name(model, operator)
    inputs = [int(index) for index in operator.inputs if index >= 0]
    constants = [index for index in inputs if is_constant(model, index)]
    moving = next((index for index in inputs if index not in constants), inputs[0] if inputs else None)
    source = () if moving is None else _shape(tensors[moving])
    output = tensors[int(operator.outputs[0])]
    kernel: tuple[int, ...] = ()
    if op in _WEIGHTED:
        kernel = _shape(tensors[int(operator.inputs[1])])
    elif op.endswith("_POOL_2D"):
        kernel = (int(operator.builtinOptions.filterHeight), int(operator.builtinOptions.filterWidth))
    counted = constants if op in _WEIGHTED | _ELEMENTWISE else []
    return OperatorCost(
        name=(output.name or b"?").decode(errors="replace"),
        op=op,
        macs=macs(op, source, _shape(output), kernel),
        params=sum(math.prod(_shape(tensors[index])) for index in counted),
        input_shape=source,
        output_shape=_shape(output),
    )
