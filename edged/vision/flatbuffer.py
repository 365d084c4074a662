"""The .tflite container: bytes to the schema's objects and back.

`tflite_schema` is what the FlatBuffers compiler makes of TensorFlow Lite's schema (Apache-2.0), byte for byte as
ai-edge-litert 2.3.0 brings it: where no LiteRT can be loaded (JetPack 4), none is installed to bring it.
"""

from __future__ import annotations

import copy
import functools
import importlib
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edged.errors import ModelError
from edged.vision.quantization import Affine

_MAGIC = b"TFL3"
# What reading wild offsets, indices and types raises; MemoryError, because a wild length is a huge allocation.
_DAMAGE = (struct.error, IndexError, KeyError, AttributeError, TypeError, ValueError, OverflowError, MemoryError)


@functools.cache
def schema() -> Any:
    """Return the generated schema module. It has no types, and mypy would read it for minutes."""
    return importlib.import_module("edged.vision.tflite_schema")


@contextmanager
def damage_as_model_error() -> Iterator[None]:
    """Turn what a damaged file makes the generated reader raise into one ModelError."""
    try:
        yield
    except _DAMAGE as error:
        raise ModelError("truncated or damaged TensorFlow Lite model") from error


def unpack(model: bytes) -> Any:
    """Return the `ModelT` of a .tflite file's content.

    Raises:
        ModelError: Not TFLite, truncated or damaged.
    """
    if len(model) < 16 or model[4:8] != _MAGIC:
        raise ModelError("not a TensorFlow Lite model (no TFL3 mark)")
    with damage_as_model_error():
        return schema().ModelT.InitFromPackedBuf(model, 0)


def pack(model: Any) -> bytes:
    """Return the .tflite file's content of a `ModelT`."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    with damage_as_model_error():
        builder.Finish(model.Pack(builder), _MAGIC)
    return bytes(builder.Output())


def copy_of(model: Any) -> Any:
    """Return a copy of a `ModelT` for surgery: everything but names, values and weights may be changed in it."""
    copied = copy.copy(model)
    copied.buffers, copied.operatorCodes = copy.copy(model.buffers), copy.copy(model.operatorCodes)
    copied.metadata, copied.subgraphs = _copies(model.metadata), _copies(model.subgraphs)
    for subgraph in copied.subgraphs or ():
        subgraph.tensors, subgraph.operators = _copies(subgraph.tensors), _copies(subgraph.operators)
        for operator in subgraph.operators or ():
            operator.builtinOptions = copy.copy(operator.builtinOptions)
    return copied


def _copies(entries: list[Any] | None) -> list[Any] | None:
    return None if entries is None else [copy.copy(entry) for entry in entries]


def operator_name(model: Any, operator: Any) -> str:
    """Return the builtin operator's name, e.g. "CONV_2D"; "CUSTOM" for what this schema does not know."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes below 127 stood in an 8-bit field that newer files keep filled.
    return _operator_names().get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")


def dtype_name(tensor: Any) -> str:
    """Return the tensor's type in lower case, e.g. "uint8"."""
    return _dtype_names().get(tensor.type, f"type {tensor.type}")


def affine_of(tensor: Any) -> Affine:
    """Return the tensor's quantization.

    Raises:
        ModelError: It has none, one per channel, or one whose scale is no positive number.
    """
    quantization = tensor.quantization
    name = (tensor.name or b"?").decode(errors="replace")
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        raise ModelError(f"tensor {name} has no per-tensor quantization")
    scale = float(quantization.scale[0])
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError(f"tensor {name} has quantization scale {scale}; a positive number is needed")
    return Affine(scale=scale, zero_point=int(quantization.zeroPoint[0]))


@functools.cache
def _operator_names() -> dict[int, str]:
    return {code: name for name, code in vars(schema().BuiltinOperator).items() if isinstance(code, int)}


@functools.cache
def _dtype_names() -> dict[int, str]:
    return {code: name.lower() for name, code in vars(schema().TensorType).items() if isinstance(code, int)}
