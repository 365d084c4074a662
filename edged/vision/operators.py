"""The operators of a classifier as a list that others can draw: what each is called, reads and makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edged.vision.flatbuffer import damage_as_model_error, dtype_name, operator_name
from edged.vision.graph import read_graph
from edged.vision.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

Part = Literal["input", "backbone", "head"]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that an operator makes; `shape` holds −1 for a dimension that is free."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, or the graph's input.

    Attributes:
        name: Unique; that of its first output, below "backbone/" or "head/"; the graph's input is called "input".
        kind: E.g. "CONV_2D"; "INPUT" for the graph's input.
        part: Whether it stands before the bottleneck or behind it.
        inputs: What it reads, but constants: name of the operator that makes it and number of that one's output.
        outputs: What it makes.
        constants: Shapes of the weights, biases and other constants that it reads.
    """

    name: str
    kind: str
    part: Part
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[Output, ...]
    constants: tuple[tuple[int, ...], ...]


def operators(model: bytes) -> tuple[Operator, ...]:
    """Return the input and the operators of a classifier in the order of execution.

    Args:
        model: Content of a .tflite or .onnx file.

    Raises:
        ModelError: As `graph.Graph`.
    """
    graph = read_graph(model)
    if isinstance(graph, OnnxGraph):
        return tuple(_read_onnx(graph))
    with damage_as_model_error():
        return tuple(_read(graph.unpacked, graph.bottleneck_tensor))


def _read(model: Any, bottleneck: int) -> Iterator[Operator]:
    subgraph = model.subgraphs[0]
    tensors, source = subgraph.tensors, int(subgraph.inputs[0])
    made: dict[int, tuple[str, int]] = {source: ("input", 0)}
    head, taken = {bottleneck}, {"input"}
    yield Operator("input", "INPUT", "input", (), (_output(tensors[source]),), ())
    for operator in subgraph.operators:
        read, written = ([int(index) for index in side if index >= 0] for side in (operator.inputs, operator.outputs))
        part: Part = "head" if head & set(read) else "backbone"
        if part == "head":
            head |= set(written)
        name = _unique(f"{part}/{_plain_name(tensors[written[0]])}", taken)
        made |= {index: (name, place) for place, index in enumerate(written)}
        yield Operator(
            name,
            operator_name(model, operator),
            part,
            tuple(made[index] for index in read if index in made),
            tuple(_output(tensors[index]) for index in written),
            tuple(_output(tensors[index]).shape for index in read if index not in made),
        )


def _read_onnx(graph: OnnxGraph) -> Iterator[Operator]:
    """As `_read`; an .onnx file tells the shapes of constants alone."""
    file, unknown = graph.file, Output((), "tensor")
    source = file.inputs[0]
    shape = tuple(-1 if size is None else size for size in source.shape)
    made: dict[str, tuple[str, int]] = {source.name: ("input", 0)}
    head, taken = {graph.bottleneck_tensor}, {"input"}
    yield Operator("input", "INPUT", "input", (), (Output(shape, source.dtype.name),), ())
    for node in file.nodes:
        part: Part = "head" if head & set(node.inputs) else "backbone"
        if part == "head":
            head |= set(node.outputs)
        name = _unique(f"{part}/{_allowed(node.outputs[0])}", taken)
        made |= {output: (name, place) for place, output in enumerate(node.outputs)}
        yield Operator(
            name,
            node.op,
            part,
            tuple(made[given] for given in node.inputs if given in made),
            (unknown,) * len(node.outputs),
            tuple(file.constants[given].shape for given in node.inputs if given in file.constants),
        )


def _output(tensor: Any) -> Output:
    signature = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return Output(() if signature is None else tuple(int(size) for size in signature), dtype_name(tensor))


def _plain_name(tensor: Any) -> str:
    """The tensor's name, of one that was fused from several the first; only what TensorFlow allows in a node's name."""
    return _allowed((tensor.name or b"").decode(errors="replace").split(";", maxsplit=1)[0])


def _allowed(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_./-]", "_", name).strip("/") or "tensor"


def _unique(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free
