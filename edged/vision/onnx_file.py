"""The .onnx container: bytes to nodes and constants, and back. What the nodes mean is `onnx_graph`'s."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.vision import protobuf as wire

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | NDArray[Any]

OPSET = 13
"""The first with one scale per channel; written into new files."""
_IR_VERSION = 8

_DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_DAMAGED = "truncated or damaged ONNX model"
# MemoryError, because a wild size is a huge allocation.
_DAMAGE = (struct.error, LookupError, AttributeError, TypeError, ValueError, ArithmeticError, MemoryError)
_NOTHING = memoryview(b"")
_MOST_BYTES = 2**31
"""Of a file; no message of protocol buffers is larger."""
_LONGEST = 2**31 - 1
"""Of the dimensions of an input or output."""


@dataclass(slots=True)
class Node:
    """One operator.

    Attributes:
        op: Its kind, e.g. "Conv".
        inputs: Names of tensors; an empty one is an optional input that is not given.
        outputs: Names of tensors.
        attributes: By name.
        domain: Empty for ONNX's own operators.
        name: May be empty.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    domain: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the graph; a dimension that is free is None."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(slots=True)
class Model:
    """A graph without subgraphs.

    Attributes:
        nodes: In the order of execution.
        constants: By name.
        inputs: Without the constants.
        outputs: Of the graph.
        opsets: Version of each domain's operators.
        ir_version: Of the container.
        metadata: What its writer tells of it.
    """

    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: list[Value]
    outputs: list[Value]
    opsets: dict[str, int] = field(default_factory=lambda: {"": OPSET})
    ir_version: int = _IR_VERSION
    metadata: dict[str, str] = field(default_factory=dict)


@contextmanager
def damage_as_model_error() -> Iterator[None]:
    """Turn what a damaged file's wild sizes, shapes and missing parts make its readers raise into one ModelError."""
    try:
        yield
    except _DAMAGE as error:
        raise ModelError(_DAMAGED) from error


# -- reading -----------------------------------------------------------------------------------------------------------


def read(data: bytes, folder: Path | None = None) -> Model:
    """Read an .onnx file's content.

    Args:
        data: The content.
        folder: Where large weights may lie in a file of their own; a file: that one; None: nowhere.

    Raises:
        ModelError: Not ONNX, damaged, with subgraphs or functions, or weights lie elsewhere.
    """
    model = Model([], {}, [], [], {}, 0)
    graph: memoryview | None = None
    with damage_as_model_error():
        for number, value in wire.fields(memoryview(data)):
            match number:
                case 1:
                    model.ir_version = wire.integer(value)
                case 7:
                    graph = wire.part(value)
                case 8:
                    domain, version = _read_opset(wire.part(value))
                    model.opsets[domain] = version
                case 14:
                    name, told = _read_pair(wire.part(value))
                    model.metadata[name] = told
                case 25:
                    raise ModelError("has functions of its own; export it with dynamo=False, or inline them")
        if graph is None or not model.opsets:
            raise ModelError("not an ONNX model")
        _read_graph(model, graph, folder)
    return model


def _read_opset(message: memoryview) -> tuple[str, int]:
    found = dict(wire.fields(message))
    domain = wire.text(found[1]) if 1 in found else ""
    return "" if domain == "ai.onnx" else domain, wire.integer(found.get(2, 0))


def _read_pair(message: memoryview) -> tuple[str, str]:
    found = wire.grouped(message)
    return wire.text(found.get(1, [_NOTHING])[-1]), wire.text(found.get(2, [_NOTHING])[-1])


def _read_graph(model: Model, graph: memoryview, folder: Path | None) -> None:
    for number, value in wire.fields(graph):
        match number:
            case 1:
                model.nodes.append(_read_node(wire.part(value), folder))
            case 5:
                name, constant = _read_tensor(wire.part(value), folder)
                model.constants[name] = constant
            case 11:
                model.inputs.append(_read_value(wire.part(value)))
            case 12:
                model.outputs.append(_read_value(wire.part(value)))
            case 15:
                raise ModelError("has sparse weights, which are not supported")
    model.inputs = [each for each in model.inputs if each.name not in model.constants]


def _read_node(message: memoryview, folder: Path | None) -> Node:
    node = Node("", [], [])
    for number, value in wire.fields(message):
        match number:
            case 1:
                node.inputs.append(wire.text(value))
            case 2:
                node.outputs.append(wire.text(value))
            case 3:
                node.name = wire.text(value)
            case 4:
                node.op = wire.text(value)
            case 5:
                name, attribute = _read_attribute(wire.part(value), folder)
                node.attributes[name] = attribute
            case 7:
                node.domain = wire.text(value)
    node.domain = "" if node.domain == "ai.onnx" else node.domain
    return node


def _read_attribute(message: memoryview, folder: Path | None) -> tuple[str, Attribute]:
    found = wire.grouped(message)
    name = wire.text(found.get(1, [_NOTHING])[-1])
    if found.keys() & {6, 11}:
        raise ModelError("has subgraphs; a classifier has none")
    if 5 in found:
        return name, _read_tensor(wire.part(found[5][-1]), folder)[1]
    kind = wire.integer(found.get(20, [0])[-1])
    read = _ATTRIBUTES.get(kind)
    if read is None:
        raise ModelError(f"has an attribute {name} of a kind {kind} that is not supported")
    number, of = read
    return name, of(found.get(number, []))


_Values = list[int | memoryview]
_ATTRIBUTES: dict[int, tuple[int, Callable[[_Values], Attribute]]] = {
    1: (2, lambda values: wire.floats(values[-1])[0] if values else 0.0),
    2: (3, lambda values: wire.integer(values[-1]) if values else 0),
    3: (4, lambda values: wire.text(values[-1]) if values else ""),
    6: (7, lambda values: tuple(one for value in values for one in wire.floats(value))),
    7: (8, lambda values: tuple(one for value in values for one in wire.integers(value))),
    8: (9, lambda values: tuple(wire.text(value) for value in values)),
}
"""Kind of an attribute → number of its field, and how its values are read."""


def _read_tensor(message: memoryview, folder: Path | None) -> tuple[str, NDArray[Any]]:
    found = wire.grouped(message)
    name, code = wire.text(found.get(8, [_NOTHING])[-1]), wire.integer(found.get(2, [0])[-1])
    if code not in _DTYPES:
        raise ModelError(f"tensor {name} has an element type {code} that is not supported")
    dtype = np.dtype(_DTYPES[code])
    shape = [size for value in found.get(1, []) for size in wire.integers(value)]
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > _MOST_BYTES:
        raise ModelError(_DAMAGED)
    raw = found.get(9, found.get(10, [None]))[-1]  # 10: doubles, packed
    if 13 in found:
        where = dict(_read_pair(wire.part(value)) for value in found[13])
        raw = memoryview(_read_elsewhere(folder, where, size))
    if raw is not None:
        values = np.frombuffer(wire.part(raw), dtype.newbyteorder("<")).astype(dtype, copy=False)
        return name, values.reshape(shape)
    reals = [one for value in found.get(4, []) for one in wire.floats(value)]
    whole = [one for number in (5, 7, 11) for value in found.get(number, []) for one in wire.integers(value)]
    if dtype == np.float16:
        return name, np.array(whole, np.uint16).view(np.float16).reshape(shape)
    return name, np.array(reals if dtype == np.float32 else whole, dtype).reshape(shape)


def _read_elsewhere(folder: Path | None, where: dict[str, str], size: int) -> bytes:
    """Read weights that lie in a file beside the model; only in its own folder."""
    location = where.get("location", "")
    if folder is None or not location or Path(location).name != location:
        raise ModelError(f"has its weights in another file ({location}); export them into one")
    begin, size = int(where.get("offset", "0")), int(where.get("length", str(size)))
    try:
        with (folder / location if folder.is_dir() else folder).open("rb") as file:
            file.seek(begin)
            return file.read(min(size, _MOST_BYTES))
    except OSError as error:
        raise ModelError(f"its weights in {location} cannot be read: {error.strerror}") from error


def _read_value(message: memoryview) -> Value:
    found = dict(wire.fields(message))
    name = wire.text(found.get(1, memoryview(b"")))
    tensor = dict(wire.fields(wire.part(dict(wire.fields(wire.part(found.get(2, memoryview(b""))))).get(1, 0))))
    code = wire.integer(tensor.get(1, 0))
    if code not in _DTYPES:
        raise ModelError(f"tensor {name} has an element type {code} that is not supported")
    return Value(name, np.dtype(_DTYPES[code]), tuple(_read_dimensions(wire.part(tensor.get(2, memoryview(b""))))))


def _read_dimensions(message: memoryview) -> Iterator[int | None]:
    for number, value in wire.fields(message):
        if number == 1:
            sizes = [wire.integer(size) for kind, size in wire.fields(wire.part(value)) if kind == 1]
            if max(sizes, default=0) > _LONGEST:
                raise ModelError(f"has an input or output with a dimension of {max(sizes)}; {_LONGEST} are the most")
            yield sizes[0] if sizes and sizes[0] > 0 else None


# -- writing -----------------------------------------------------------------------------------------------------------


def write(model: Model) -> bytes:
    """Return the content of an .onnx file; the same for the same model."""
    graph = [wire.put_bytes(1, _put_node(node)) for node in model.nodes]
    graph.append(wire.put_bytes(2, "edged"))
    graph += [wire.put_bytes(5, put_tensor(name, constant)) for name, constant in model.constants.items()]
    graph += [wire.put_bytes(11, _put_value(value)) for value in model.inputs]
    graph += [wire.put_bytes(12, _put_value(value)) for value in model.outputs]
    opsets = [
        wire.put_bytes(8, [wire.put_bytes(1, domain), wire.put_integer(2, version)])
        for domain, version in model.opsets.items()
    ]
    return b"".join(
        [wire.put_integer(1, model.ir_version), wire.put_bytes(2, "edged"), wire.put_bytes(7, graph), *opsets]
    )


def _put_node(node: Node) -> Iterator[bytes]:
    yield from (wire.put_bytes(1, name) for name in node.inputs)
    yield from (wire.put_bytes(2, name) for name in node.outputs)
    yield wire.put_bytes(3, node.name)
    yield wire.put_bytes(4, node.op)
    yield from (wire.put_bytes(5, _put_attribute(name, value)) for name, value in node.attributes.items())
    yield wire.put_bytes(7, node.domain)


def _put_attribute(name: str, value: Attribute) -> Iterator[bytes]:
    yield wire.put_bytes(1, name)
    if isinstance(value, np.ndarray):
        yield wire.put_bytes(5, put_tensor("", value))
        kind = 4
    elif isinstance(value, str):
        yield wire.put_bytes(4, value)
        kind = 3
    elif isinstance(value, int):
        yield wire.put_integer(3, value)
        kind = 2
    elif isinstance(value, float):
        yield wire.put_float(2, value)
        kind = 1
    else:
        kind = yield from _put_several(value)
    yield wire.put_integer(20, kind)


def _put_several(values: Sequence[int] | Sequence[float] | Sequence[str]) -> Any:
    if all(isinstance(each, str) for each in values) and values:
        yield from (wire.put_bytes(9, str(each)) for each in values)
        return 8
    if all(isinstance(each, int) for each in values):
        yield wire.put_integers(8, [int(each) for each in values])
        return 7
    yield wire.put_floats(7, [float(each) for each in values])
    return 6


def put_tensor(name: str, values: NDArray[Any]) -> Iterator[bytes]:
    """Write a constant."""
    yield wire.put_integers(1, values.shape)
    yield wire.put_integer(2, _CODES[values.dtype])
    yield wire.put_bytes(8, name)
    yield wire.put_bytes(9, np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())


def _put_value(value: Value) -> Iterator[bytes]:
    sizes = [
        wire.put_bytes(1, wire.put_bytes(2, "batch") if size is None else wire.put_integer(1, size))
        for size in value.shape
    ]
    tensor = wire.put_integer(1, _CODES[value.dtype]) + wire.put_bytes(2, sizes)
    yield wire.put_bytes(1, value.name)
    yield wire.put_bytes(2, wire.put_bytes(1, tensor))
