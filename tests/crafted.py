"""Models that are well-formed files and harm who runs them, made of the shipped one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from edged.vision.flatbuffer import operator_name, pack, schema, unpack
from tests.networks import SHIPPED


@functools.cache
def shipped_model() -> bytes:
    """Content of the shipped network's file."""
    return (SHIPPED / "model.tflite").read_bytes()


def _crafted(change: Callable[[Any], None]) -> bytes:
    model = unpack(shipped_model())
    change(model.subgraphs[0])
    return pack(model)


def with_input(operator: int, tensor: int) -> bytes:
    """Return the model with another first input of an operator."""

    def change(graph: Any) -> None:
        inputs = np.array(graph.operators[operator].inputs)
        inputs[0] = tensor
        graph.operators[operator].inputs = inputs

    return _crafted(change)


def with_scale(scale: float, *, output: bool = False) -> bytes:
    """Return the model with another scale of the second operator's input or output."""

    def change(graph: Any) -> None:
        operator = graph.operators[1]
        tensor = operator.outputs[0] if output else operator.inputs[0]
        graph.tensors[tensor].quantization.scale = np.array([scale], np.float32)

    return _crafted(change)


def unpooled() -> bytes:
    """Return the model with a head that reads the features before they are pooled: each of 49 places has its scores."""
    model = unpack(shipped_model())
    graph = model.subgraphs[0]
    operators = {operator_name(model, one): one for one in graph.operators}
    pool, head = operators["MEAN"], operators["FULLY_CONNECTED"]
    head.inputs = np.array([pool.inputs[0], *head.inputs[1:]], np.int32)
    head.builtinOptions.keepNumDims = True
    return pack(model)


CRAFTED = {
    "no input": lambda: with_input(1, -1),
    "wild input": lambda: with_input(1, 9999),
    "scale not a number": lambda: with_scale(float("nan")),
    "negative scale": lambda: with_scale(-1.0),
    "infinite scale": lambda: with_scale(float("inf")),
    "no scale": lambda: with_scale(0.0),
    "output's scale not a number": lambda: with_scale(float("nan"), output=True),
}
"""Most of these end a process that runs them by a signal, with LiteRT 2.3.0 on x86."""


def hungry(number: int, network: bytes | None = None, *, white: bool = False) -> bytes:
    """Return a model with a part that takes so many bytes for an image with a pixel of 255, and none for a dark one.

    A branch beside the network makes a square of `number` · (max(0, brightest − 200) / 55)² bytes.

    Args:
        number: So many.
        network: The model; None: the shipped one.
        white: Only where all pixels are bright: neither grey nor noise, which every examination begins with, tells it.
    """
    tflite = schema()
    model = unpack(shipped_model() if network is None else network)
    graph = model.subgraphs[0]

    def buffer(data: bytes) -> int:
        made = tflite.BufferT()
        made.data = np.frombuffer(data, np.uint8)
        model.buffers.append(made)
        return len(model.buffers) - 1

    def tensor(kind: int, shape: list[int], data: bytes = b"") -> int:
        made = tflite.TensorT()
        made.name, made.shape, made.type = f"hungry{len(graph.tensors)}".encode(), np.array(shape, np.int32), kind
        made.buffer = buffer(data) if data else 0
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], output: int, options: Any = None) -> None:
        code = tflite.OperatorCodeT()
        number = getattr(tflite.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 2
        model.operatorCodes.append(code)
        made = tflite.OperatorT()
        made.opcodeIndex = len(model.operatorCodes) - 1
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(tflite.BuiltinOptions, type(options).__name__.removesuffix("T"))
        graph.operators.append(made)

    types = tflite.TensorType

    def constant(*values: int) -> int:
        return tensor(types.INT32, [len(values)], np.array(values, np.int32).tobytes())

    image = int(graph.inputs[0])
    brightest, wide, above, positive = (tensor(types.INT32, [1]) for _ in range(4))
    size, side = tensor(types.INT32, [2]), round(number**0.5 / 55)
    graph.tensors[brightest].type = graph.tensors[image].type
    graph.tensors[brightest].quantization = graph.tensors[image].quantization
    operator("REDUCE_MIN" if white else "REDUCE_MAX", [image, constant(1, 2, 3)], brightest, tflite.ReducerOptionsT())
    cast = tflite.CastOptionsT()
    cast.inDataType, cast.outDataType = graph.tensors[image].type, types.INT32
    operator("CAST", [brightest], wide, cast)
    operator("SUB", [wide, constant(200)], above, tflite.SubOptionsT())
    operator("MAXIMUM", [above, constant(0)], positive, tflite.MaximumMinimumOptionsT())
    operator("MUL", [positive, constant(side, side)], size, tflite.MulOptionsT())
    nought = tensor(types.INT8, [], b"\0")
    operator("FILL", [size, nought], tensor(types.INT8, [0, 0]), tflite.FillOptionsT())
    return pack(model)
