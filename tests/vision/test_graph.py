import struct
from pathlib import Path

import numpy as np
import pytest

from edged.errors import ModelError
from edged.vision import flatbuffer
from edged.vision.graph import Graph, read_graph
from tests.vision.conftest import EXPECTED, Expected, network_file

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the same numbers whichever tests ran before in this process."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


def new_head(graph: Graph, classes: int = 3) -> bytes:
    weights = (RNG.standard_normal((classes, graph.head.features)) * 0.1).astype(np.float32)
    return graph.replace_head(weights, np.zeros(classes, np.float32), (-6.0, 6.0))


def edited(model: bytes, edit: object) -> bytes:
    unpacked = flatbuffer.unpack(model)
    edit(unpacked)  # type: ignore[operator] # a test's lambda
    return flatbuffer.pack(unpacked)


def found(graph: Graph) -> Expected:
    assert graph.input.height == graph.input.width
    assert graph.bottleneck_quantization.scale > 0
    head = graph.head
    return Expected(graph.input.width, head.features, head.classes, head.kind, head.softmax, graph.bottleneck_dtype)


def test_every_model_is_understood(name: str) -> None:
    graph = Graph(network_file(name))
    assert found(graph) == EXPECTED[name]
    assert graph.input.dtype == ("int8" if name == "made_signed" else "uint8")


def test_the_bottleneck_becomes_the_second_output_once(any_model: bytes) -> None:
    exposed = Graph(any_model).expose_bottleneck()
    again = Graph(exposed)
    assert again.expose_bottleneck() == exposed
    assert again.head == Graph(any_model).head
    assert again.bottleneck_quantization == Graph(any_model).bottleneck_quantization


def test_what_the_outputs_are_is_told_where_the_bottleneck_is_one(any_model: bytes) -> None:
    graph = Graph(any_model)
    assert graph.outputs is None
    exposed = graph.expose_bottleneck()
    assert Graph(exposed).outputs == ("scores" if graph.head.softmax else "logits", "bottleneck")


def test_a_new_head_of_another_width_is_read_back(any_model: bytes) -> None:
    graph = Graph(any_model)
    renewed = Graph(new_head(graph, 7))
    assert renewed.head.classes == 7
    assert renewed.head.kind == "CONV_2D"
    assert renewed.head.softmax
    assert renewed.head.features == graph.head.features
    assert renewed.input == graph.input
    assert renewed.bottleneck_quantization == graph.bottleneck_quantization


def test_what_is_known_of_a_new_file_is_what_would_be_read_from_it(any_model: bytes) -> None:
    model = new_head(Graph(any_model))
    known, read = read_graph(model), Graph(model)
    assert known is read_graph(bytes(bytearray(model))), "it was read although it had just been written"
    assert isinstance(known, Graph)
    assert (known.input, known.head, known.outputs) == (read.input, read.head, read.outputs)
    assert (known.bottleneck_tensor, known.bottleneck_dtype) == (read.bottleneck_tensor, read.bottleneck_dtype)
    assert known.bottleneck_quantization == read.bottleneck_quantization
    np.testing.assert_array_equal(known.head_weights(), read.head_weights())
    assert known.head_only() == read.head_only()
    assert known.expose_bottleneck() == model
    weights = np.ones((4, known.head.features), np.float32)
    again = [one.replace_head(weights, np.zeros(4, np.float32), (-6.0, 6.0)) for one in (known, read)]
    assert again[0] == again[1]


def test_graphs_of_the_last_three_files_are_kept(smallest_model: bytes) -> None:
    models = [new_head(Graph(smallest_model), classes) for classes in (2, 3, 4)]
    graphs = [read_graph(model) for model in models]
    assert isinstance(graphs[0], Graph)
    assert read_graph(models[0]) is graphs[0]
    read_graph(new_head(graphs[0], 5))
    assert [read_graph(models[place]) is graphs[place] for place in (0, 2, 1)] == [True, True, False]


def test_replacing_heads_again_and_again_does_not_grow_the_file(smallest_model: bytes) -> None:
    first = new_head(Graph(smallest_model))
    model = first
    for _ in range(3):
        model = new_head(Graph(model))
    assert len(model) == len(first) < len(smallest_model)


def test_a_graph_is_what_it_was_after_every_surgery(any_model: bytes) -> None:
    def surgeries(graph: Graph) -> list[bytes]:
        weights = np.full((3, graph.head.features), 0.1, np.float32)
        return [
            graph.replace_head(weights, np.zeros(3, np.float32), (-6.0, 6.0)),
            graph.expose_bottleneck(),
            graph.head_only(),
        ]

    graph = Graph(any_model)
    first = surgeries(graph)
    assert surgeries(graph) == first
    assert Graph(any_model).head_only() == first[-1]


def test_the_same_head_gives_the_same_bytes(smallest_model: bytes) -> None:
    features = Graph(smallest_model).head.features
    weights, bias = np.full((2, features), 0.5, np.float32), np.zeros(2, np.float32)
    first, second = (Graph(smallest_model).replace_head(weights, bias, (-1.0, 1.0)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("shape", "bias", "said"),
    [((3, -1), 3, "does not fit a bottleneck of {}"), ((3, 0), 2, "does not fit"), ((0,), 3, "does not fit")],
)
def test_a_head_that_does_not_fit_is_refused(
    smallest_model: bytes, shape: tuple[int, ...], bias: int, said: str
) -> None:
    graph = Graph(smallest_model)
    features = graph.head.features
    wrong = np.zeros((*shape[:-1], features + shape[-1]), np.float32)
    biases = np.zeros(bias if len(shape) == 2 else features, np.float32)
    with pytest.raises(ModelError, match=said.format(features)):
        graph.replace_head(wrong, biases, (-1.0, 1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_head_that_is_not_finite_is_refused(smallest_model: bytes, value: float) -> None:
    graph = Graph(smallest_model)
    weights = np.zeros((2, graph.head.features), np.float32)
    weights[1, 7] = value
    with pytest.raises(ModelError, match="not finite"):
        graph.replace_head(weights, np.zeros(2, np.float32), (-1.0, 1.0))


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\0" * 4096, b"TFL3" * 100, b"\xff\xd8\xff\xe0" + b"x" * 999])
def test_what_is_no_model_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ModelError) as refused:
        Graph(content)
    assert "\n" not in str(refused.value)


def test_float_models_are_refused(smallest_model: bytes) -> None:
    float32 = flatbuffer.schema().TensorType.FLOAT32

    def float_input(model: object) -> None:
        subgraph = model.subgraphs[0]  # type: ignore[attr-defined] # generated, untyped
        subgraph.tensors[int(subgraph.inputs[0])].type = float32

    def float_output(model: object) -> None:
        subgraph = model.subgraphs[0]  # type: ignore[attr-defined] # generated, untyped
        subgraph.tensors[int(subgraph.outputs[0])].type = float32

    with pytest.raises(ModelError, match="input is float32"):
        Graph(edited(smallest_model, float_input))
    with pytest.raises(ModelError, match="output is float32"):
        Graph(edited(smallest_model, float_output))


def test_a_network_that_is_no_classifier_is_refused(smallest_model: bytes) -> None:
    def end_at_a_feature_map(model: object) -> None:
        subgraph = model.subgraphs[0]  # type: ignore[attr-defined] # generated, untyped
        subgraph.outputs = [int(subgraph.operators[5].outputs[0])]

    with pytest.raises(ModelError, match="no classifier head"):
        Graph(edited(smallest_model, end_at_a_feature_map))


def test_two_subgraphs_several_inputs_and_many_outputs_are_refused(smallest_model: bytes) -> None:
    def twice(model: object) -> None:
        model.subgraphs = model.subgraphs * 2  # type: ignore[attr-defined] # generated, untyped

    def inputs(model: object) -> None:
        model.subgraphs[0].inputs = [0, 1]  # type: ignore[attr-defined] # generated, untyped

    def outputs(model: object) -> None:
        model.subgraphs[0].outputs = [0, 1, 2]  # type: ignore[attr-defined] # generated, untyped

    for edit, said in ((twice, "2 subgraphs"), (inputs, "2 inputs"), (outputs, "3 outputs")):
        with pytest.raises(ModelError, match=said):
            Graph(edited(smallest_model, edit))


def test_a_cycle_of_reshapes_is_damage_and_no_endless_loop(smallest_model: bytes) -> None:
    def bite_the_tail(model: object) -> None:
        subgraph = model.subgraphs[0]  # type: ignore[attr-defined] # generated, untyped
        last = subgraph.operators[-1]
        last.inputs = [int(last.outputs[0])]

    with pytest.raises(ModelError):
        Graph(edited(smallest_model, bite_the_tail))


def test_truncated_files_are_refused_or_whole(smallest_model: bytes) -> None:
    for length in [*RNG.integers(0, len(smallest_model), 40), len(smallest_model) - 1]:
        _readable_or_model_error(smallest_model[:length])


def test_flipped_bits_are_refused_or_readable(smallest_model: bytes) -> None:
    """Only what Python reads: the structure's first and last kilobytes, where the tables lie."""
    for _ in range(60):
        damaged = bytearray(smallest_model)
        for _ in range(int(RNG.integers(1, 12))):
            near = int(RNG.integers(0, 6000))
            at = near if RNG.random() < 0.5 else len(damaged) - 1 - near
            damaged[at] ^= 1 << int(RNG.integers(8))
        _readable_or_model_error(bytes(damaged))


def test_a_wild_root_offset_is_refused(smallest_model: bytes) -> None:
    for offset in (0xFFFFFFFF, 0x7FFFFFFF, len(smallest_model) - 2, 1):
        _readable_or_model_error(struct.pack("<I", offset) + smallest_model[4:])


def _readable_or_model_error(model: bytes) -> None:
    said = ""
    try:
        graph = Graph(model)
        graph.expose_bottleneck()
        graph.head_only()
        if graph.head.features < 1 << 16:
            new_head(graph, 2)
    except ModelError as error:
        said = str(error)
    assert "\n" not in said


def test_the_shipped_model_is_understood() -> None:
    file = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2" / "model.tflite"
    graph = Graph(file.read_bytes())
    assert (graph.head.features, graph.head.classes) == (1280, 1000)
