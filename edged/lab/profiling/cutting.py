"""Cutting operators out of a model, so that each can be run and timed alone; and freeing its batch dimension."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from edged.errors import ModelError
from edged.vision.flatbuffer import damage_as_model_error, operator_name, pack, unpack
from edged.vision.surgery import drop_stale_descriptions, drop_unused, free_the_batch


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a model that is a model of its own.

    Attributes:
        model: Content of a .tflite file.
        inputs: Indices, in the whole model, of the tensors that became its inputs, in order.
        outputs: The same of its outputs; the whole model's own come first.
    """

    model: bytes
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def cut_out(model: Any, positions: Collection[int]) -> Cut:
    """Cut operators out of an unpacked model, which stays as it is.

    Args:
        model: The whole model, as `flatbuffer.unpack` returns it.
        positions: Which operators, numbered from 0 in the order of execution.
    """
    with damage_as_model_error():
        part, subgraph = _shallow_copy(model)
        others = [op for position, op in enumerate(subgraph.operators) if position not in positions]
        chosen = [subgraph.operators[position] for position in sorted(positions)]
        made = [int(index) for operator in chosen for index in operator.outputs]
        wanted = {int(index) for operator in others for index in operator.inputs}
        final = [int(index) for index in subgraph.outputs if int(index) in made]
        inputs: list[int] = []
        for operator in chosen:
            for index in map(int, operator.inputs):
                if index >= 0 and index not in made and index not in inputs and not is_constant(model, index):
                    inputs.append(index)
        outputs = final + [index for index in made if index in wanted and index not in final]
        subgraph.operators, subgraph.inputs, subgraph.outputs = chosen, inputs, outputs
        drop_stale_descriptions(part)
        drop_unused(part)
    return Cut(pack(part), tuple(inputs), tuple(outputs))


def without_operators(model: Any, tensor: int) -> bytes:
    """Return a model without operators whose input `tensor` is its output: running it takes the cost of a call."""
    with damage_as_model_error():
        part, subgraph = _shallow_copy(model)
        subgraph.operators, subgraph.inputs, subgraph.outputs = [], [tensor], [tensor]
        drop_stale_descriptions(part)
        drop_unused(part)
    return pack(part)


def with_free_batch(model: bytes) -> bytes:
    """Return the model with every RESHAPE to a fixed batch of 1 following the batch instead.

    Raises:
        ModelError: A RESHAPE mixes the images of a batch.
    """
    unpacked = unpack(model)
    with damage_as_model_error():
        subgraph = unpacked.subgraphs[0]
        for operator in subgraph.operators:
            if operator_name(unpacked, operator) != "RESHAPE":
                continue
            before = [int(size) for size in subgraph.tensors[int(operator.inputs[0])].shape]
            after = [int(size) for size in subgraph.tensors[int(operator.outputs[0])].shape]
            if before[:1] != [1] or after[:1] != [1]:
                raise ModelError(f"cannot be batched: a RESHAPE from {before} to {after} moves the batch dimension")
            if len(operator.inputs) < 2 or is_constant(unpacked, int(operator.inputs[1])):
                free_the_batch(unpacked, operator)
    return pack(unpacked)


def is_constant(model: Any, tensor: int) -> bool:
    """Whether the file holds the tensor's values."""
    data = model.buffers[model.subgraphs[0].tensors[tensor].buffer].data
    return data is not None and len(data) > 0


def _shallow_copy(model: Any) -> tuple[Any, Any]:
    """Copy what surgery changes; the weights are shared."""
    part, subgraph = copy.copy(model), copy.copy(model.subgraphs[0])
    part.subgraphs = [subgraph]
    part.buffers, part.operatorCodes = list(model.buffers), list(model.operatorCodes)
    part.metadata = [copy.copy(entry) for entry in model.metadata or []]
    subgraph.tensors = [copy.copy(tensor) for tensor in subgraph.tensors]
    subgraph.operators = [copy.copy(operator) for operator in subgraph.operators]
    return part, subgraph
