"""Cutting: a chain of cut-out operators, a graph without any, a batch that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.errors import ModelError
from edged.lab.profiling.cutting import cut_out, with_free_batch, without_operators
from edged.lab.profiling.runtimes import Runner
from edged.vision.flatbuffer import operator_name, pack, unpack
from tests.conftest import HAS_SHARED_DATA
from tests.networks import made
from tests.vision.conftest import network_file, noise_for

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_two_halves_make_the_whole(model: bytes, noise: NDArray[np.uint8]) -> None:
    graph = unpack(model)
    count = len(graph.subgraphs[0].operators)
    whole = Runner(model, runtime="litert", threads=1)
    whole.infer(noise[:1])
    first, second = cut_out(graph, range(20)), cut_out(graph, range(20, count))
    assert sorted(second.inputs) == sorted(first.outputs)  # the cut goes through a residual connection
    assert len(first.model) + len(second.model) < len(model) * 1.1  # each holds its own weights only
    half = Runner(first.model, runtime="litert", threads=1)
    half.infer(noise[:1])
    rest = Runner(second.model, runtime="litert", threads=1)
    for place, tensor in enumerate(second.inputs):
        rest.put(place, half.get(first.outputs.index(tensor)))
    rest.invoke()
    assert np.array_equal(rest.get(), whole.get())
    assert len(graph.subgraphs[0].operators) == count  # the original is as it was


def test_a_graph_without_operators_runs(model: bytes) -> None:
    graph = unpack(model)
    runner = Runner(without_operators(graph, int(graph.subgraphs[0].outputs[0])), runtime="litert", threads=1)
    given = np.arange(1000).astype(np.uint8).reshape(1, 1000)
    runner.put(0, given)
    runner.invoke()
    assert np.array_equal(runner.get(), given)


HARD_CODED = ["made_v1_128", "made_v2_224", "made_inception"]
HARD_CODED += ["mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant"] if HAS_SHARED_DATA else []


@pytest.mark.parametrize("name", HARD_CODED)
def test_a_hard_coded_batch_is_freed(name: str) -> None:
    model = network_file(name)
    images = noise_for(model, 3)
    single = Runner(model, runtime="litert", threads=1)
    freed = Runner(with_free_batch(model), runtime="litert", threads=1, batch=3)
    freed.infer(images)
    rows = freed.get()
    for place in range(3):
        single.infer(images[place : place + 1])
        assert np.array_equal(rows[place], single.get()[0])


def test_a_reshape_that_mixes_the_batch_is_told() -> None:
    graph = unpack(made("made_v1_128").model)
    subgraph = graph.subgraphs[0]
    reshape = next(operator for operator in subgraph.operators if operator_name(graph, operator) == "RESHAPE")
    subgraph.tensors[int(reshape.outputs[0])].shape = [7, 143]
    with pytest.raises(ModelError, match=r"cannot be batched: a RESHAPE from .* to \[7, 143\] moves the batch"):
        with_free_batch(pack(graph))
