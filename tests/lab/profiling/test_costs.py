"""Costs against numbers that the literature and the formulas give."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from edged.lab.profiling.costs import arena_bytes, costs, macs
from edged.vision.flatbuffer import operator_name, schema, unpack
from tests.networks import KINDS, made


@pytest.mark.parametrize(
    ("op", "source", "target", "kernel", "expected"),
    [
        ("CONV_2D", (1, 224, 224, 3), (1, 112, 112, 32), (32, 3, 3, 3), 112 * 112 * 32 * 27),
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 6), (1, 8, 8, 6), (1, 3, 3, 6), 8 * 8 * 6 * 9),
        ("FULLY_CONNECTED", (1, 1280), (1, 1000), (1000, 1280), 1_280_000),
        ("TRANSPOSE_CONV", (1, 4, 4, 2), (1, 8, 8, 5), (5, 3, 3, 2), 4 * 4 * 2 * 3 * 3 * 5),
        ("AVERAGE_POOL_2D", (1, 8, 8, 4), (1, 1, 1, 4), (8, 8), 256),
        ("ADD", (1, 7, 7, 160), (1, 7, 7, 160), (), 7840),
        ("MEAN", (1, 7, 7, 1280), (1, 1280), (), 62720),
        ("MAX_POOL_2D", (1, 8, 8, 4), (1, 4, 4, 4), (2, 3), 4 * 4 * 4 * 6),
        ("L2_POOL_2D", (1, 8, 8, 4), (1, 4, 4, 4), (2, 2), 4 * 4 * 4 * 4),
        ("MUL", (1, 7, 7, 3), (1, 7, 7, 3), (), 147),
        ("SUM", (1, 4, 4, 3), (1, 3), (), 48),
        ("REDUCE_MAX", (1, 4, 4, 3), (1, 3), (), 48),
        ("RESHAPE", (1, 7, 7, 2), (1, 98), (), 0),
        ("SOFTMAX", (1, 10), (1, 10), (), 0),
    ],
)
def test_formulas(
    op: str, source: tuple[int, ...], target: tuple[int, ...], kernel: tuple[int, ...], expected: int
) -> None:
    assert macs(op, source, target, kernel) == expected


def test_the_shipped_model_has_the_published_numbers(model: bytes) -> None:
    # Sandler et al., "MobileNetV2": 300 million multiply-adds, 3.4 million parameters.
    counted = costs(unpack(model))
    convolutions = [cost for cost in counted if cost.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    assert sum(cost.macs for cost in convolutions) == 300_774_272
    assert sum(cost.params for cost in counted) == 3_487_816
    assert counted[0].input_shape == (1, 224, 224, 3)
    assert counted[-2].op == "SOFTMAX"


def test_published_numbers_of_other_networks(shared_data: Path) -> None:
    expected = {"mobilenet_v1_0.5_160_quant": (76, 1.3), "resnet50_224_uint8_ptq": (3860, 25.5)}
    for name, (mega_macs, mega_params) in expected.items():
        counted = costs(unpack((shared_data / "models" / f"{name}.tflite").read_bytes()))
        assert sum(cost.macs for cost in counted) / 1e6 == pytest.approx(mega_macs, rel=0.01)
        assert sum(cost.params for cost in counted) / 1e6 == pytest.approx(mega_params, rel=0.03)


WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_is_counted_whole(name: str) -> None:
    """The weights and biases are all the constants but the shapes, paddings and axes; pools and sums have none."""
    graph = unpack(made(name).model)
    counted = costs(graph)
    tensors, operators = graph.subgraphs[0].tensors, graph.subgraphs[0].operators
    weighted = [operator for operator in operators if operator_name(graph, operator) in WEIGHTED]
    assert sum(cost.params for cost in counted) == sum(
        math.prod(int(size) for size in tensors[int(index)].shape) for op in weighted for index in op.inputs[1:]
    )
    by_name = {cost.name: cost for cost in counted}
    assert len(by_name) == len(counted) == len(operators)
    free = {"RESHAPE", "SOFTMAX", "QUANTIZE", "PAD", "CONCATENATION"}
    assert all((cost.macs == 0) == (cost.op in free) for cost in counted)
    (head,) = [cost for cost in counted if cost.output_shape[-1] == KINDS[name].classes and cost.macs]
    assert head.macs == head.input_shape[-1] * KINDS[name].classes
    for cost in counted:
        if cost.op == "DEPTHWISE_CONV_2D":
            assert cost.macs == math.prod(cost.output_shape) * 9
        if cost.op in ("AVERAGE_POOL_2D", "MEAN") and cost.output_shape[1] in (1, cost.input_shape[3]):
            assert cost.macs == math.prod(cost.input_shape)  # each value is added once


def test_live_activations_are_at_least_the_largest_pair(model: bytes) -> None:
    # The first expansion reads 112×112×16 and writes 112×112×96 bytes.
    assert 112 * 112 * 112 <= arena_bytes(unpack(model)) < 3_000_000


def graph_of(sizes: list[int], operators: list[tuple[list[int], list[int]]], inputs: list[int], outputs: list[int]):
    """A graph of byte tensors of these sizes, as `arena_bytes` looks at one."""
    tensors = [SimpleNamespace(shape=[1, size], type=schema().TensorType.UINT8) for size in sizes]
    made = [SimpleNamespace(inputs=reads, outputs=makes) for reads, makes in operators]
    return SimpleNamespace(subgraphs=[SimpleNamespace(tensors=tensors, operators=made, inputs=inputs, outputs=outputs)])


@pytest.mark.parametrize(
    ("sizes", "operators", "outputs", "most"),
    [
        ([100, 50, 20], [([0], [1]), ([1], [2])], [2], 150),  # each lives until the next one is made
        ([100, 50, 200, 1], [([0], [1]), ([1], [2]), ([2], [3])], [3], 250),
        ([100, 50, 200], [([0], [1]), ([0, 1], [2])], [2], 350),  # the input is read again at the end
        ([10, 50, 200, 1], [([0], [1]), ([1], [2]), ([2], [3])], [1, 3], 251),  # an output stays
        ([10, 300, 20, 30], [([0], [1, 2]), ([2], [3])], [3], 330),  # nobody reads the second one
        ([500, 1, 1], [([0], [1]), ([1], [2])], [2], 501),
    ],
)
def test_the_most_bytes_that_are_alive_at_once(
    sizes: list[int], operators: list[tuple[list[int], list[int]]], outputs: list[int], most: int
) -> None:
    assert arena_bytes(graph_of(sizes, operators, [0], outputs)) == most


def test_a_float_takes_four_bytes() -> None:
    graph = graph_of([10, 10], [([0], [1])], [0], [1])
    graph.subgraphs[0].tensors[0].type = schema().TensorType.FLOAT32
    assert arena_bytes(graph) == 50
    graph.subgraphs[0].tensors[1].type = schema().TensorType.INT64
    assert arena_bytes(graph) == 120
    graph.subgraphs[0].tensors[1].shape = None
    assert arena_bytes(graph) == 48


def test_an_image_that_is_only_read_is_alive_while_it_is() -> None:
    graph = graph_of([100, 5, 7], [([1], [2])], [0, 1], [2])
    assert arena_bytes(graph) == 112
