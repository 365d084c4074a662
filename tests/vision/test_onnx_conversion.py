"""A network as ONNX answers as its .tflite file does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.errors import ConfigError, ModelError
from edged.vision import onnx_runtime
from edged.vision.flatbuffer import operator_name, pack, unpack
from edged.vision.graph import Graph, parse_graph
from edged.vision.network import HeadNetwork, Network, import_runtime
from edged.vision.onnx_conversion import convert
from edged.vision.onnx_file import Node, read, write
from edged.vision.onnx_graph import OnnxGraph
from tests.networks import SHIPPED, made
from tests.photos import shipped_photos, views
from tests.vision.conftest import REAL

if TYPE_CHECKING:
    from pathlib import Path

    from edged.types import Image

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")


@pytest.fixture(scope="module")
def photos() -> list[Image]:
    """Parts of two photos that every network is sure of."""
    return [view for file in sorted(shipped_photos())[:2] for view in views(file, 2)]


@pytest.fixture(
    params=[
        "made_v1_128",
        "made_v2_224",
        "made_birds",
        "made_inception",
        "made_efficientnet",
        "made_resnet",
        "made_signed",
    ]
)
def any_model(request: pytest.FixtureRequest) -> bytes:
    return made(request.param).model


def converted(model: bytes) -> bytes:
    return convert(Graph(model).expose_bottleneck(), unsigned=True)


def test_it_answers_as_the_tflite_file(any_model: bytes, photos: list[Image]) -> None:
    ours, theirs = Network(converted(any_model)), Network(any_model)
    assert (ours.runtime, ours.providers) == ("onnx", ("cpu",))
    assert (ours.width, ours.height, ours.classes, ours.features) == (
        theirs.width, theirs.height, theirs.classes, theirs.features,
    )  # fmt: skip
    for photo in photos:
        one, other = ours.infer(ours.prepare(photo)), theirs.infer(theirs.prepare(photo))
        assert int(one.scores.argmax()) == int(other.scores.argmax())
        assert np.abs(one.scores - other.scores).max() < 0.02
        steps = np.abs(one.embedding - other.embedding) / theirs.bottleneck_affine.scale
        assert steps.max() < 1.5
        assert np.mean(steps > 0.5) < 0.01


def test_a_tflite_file_runs_on_it_with_the_types_that_it_has(any_model: bytes, photos: list[Image]) -> None:
    ours, theirs = Network(any_model, runtime="onnx"), Network(any_model)
    assert ours.bottleneck_affine == theirs.bottleneck_affine
    assert ours.bottleneck_dtype == theirs.bottleneck_dtype
    prepared = ours.prepare(photos[0])
    assert np.abs(ours.embed(prepared).astype(int) - theirs.embed(prepared)).max() <= 3
    assert ours.invoke(prepared).scores.dtype == theirs.invoke(prepared).scores.dtype


def test_its_head_alone_says_the_same(any_model: bytes, photos: list[Image]) -> None:
    model = converted(any_model)
    network, head = Network(model), HeadNetwork(model)
    outputs = [network.invoke(network.prepare(photo)) for photo in photos]
    alone = head.raw(np.stack([each.bottleneck for each in outputs]))
    assert np.array_equal(alone, np.stack([each.scores for each in outputs]))


def test_a_new_head_takes_the_old_ones_place(any_model: bytes, photos: list[Image]) -> None:
    graph = OnnxGraph(converted(any_model))
    weights = (np.random.default_rng(1).standard_normal((5, graph.head.features)) * 0.05).astype(np.float32)
    bias = np.arange(5, dtype=np.float32)
    model = graph.replace_head(weights, bias, (-1.0, 1.0))
    again = OnnxGraph(model)
    assert again.outputs == ("scores", "bottleneck")
    assert again.expose_bottleneck() is model
    assert np.array_equal(again.head_weights(), weights)
    network, head = Network(model, outputs=again.outputs), HeadNetwork(model)
    for photo in photos:
        outputs = network.invoke(network.prepare(photo))
        logits = graph.bottleneck_quantization.dequantize(outputs.bottleneck) @ weights.T + bias
        wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert np.allclose(network.decode(outputs).scores, wanted, atol=1e-5)
        assert np.allclose(head.scores(outputs.bottleneck[np.newaxis])[0], wanted, atol=1e-5)
    renewed = OnnxGraph(again.replace_head(weights[:3], bias[:3], (-1.0, 1.0)))
    assert (renewed.head.classes, renewed.bottleneck_tensor) == (3, graph.bottleneck_tensor)


def test_the_old_head_is_found(any_model: bytes) -> None:
    ours, theirs = OnnxGraph(converted(any_model)), Graph(any_model)
    assert (ours.head, ours.input.width) == (theirs.head, theirs.input.width)
    assert np.allclose(ours.head_weights(), theirs.head_weights(), atol=1e-6)
    assert ours.outputs == ("scores" if theirs.head.softmax else "logits", "bottleneck")


@pytest.mark.parametrize("name", REAL)
def test_the_real_networks_are_converted(name: str, shared_data: Path) -> None:
    model = (shared_data / "models" / f"{name}.tflite").read_bytes()
    graph, expected = OnnxGraph(converted(model)), REAL[name]
    assert (graph.input.width, graph.head.features, graph.head.classes) == (
        expected.size, expected.features, expected.classes,
    )  # fmt: skip
    assert graph.outputs == ("scores" if expected.softmax else "logits", "bottleneck")


def test_a_batch_is_its_images_one_by_one(photos: list[Image]) -> None:
    model = converted(made("made_efficientnet").model)
    network = Network(model)
    interpreter = onnx_runtime.Interpreter(model, 1)
    interpreter.set_tensor(0, np.stack([network.prepare(photo) for photo in photos]))
    interpreter.invoke()
    assert np.array_equal(
        interpreter.get_tensor(1), np.stack([network.embed(network.prepare(each)) for each in photos])
    )


def test_an_operator_that_is_not_known_is_named() -> None:
    model = unpack(made("made_v1_128").model)
    softmax = next(each for each in model.subgraphs[0].operators if operator_name(model, each) == "SOFTMAX")
    code = model.operatorCodes[softmax.opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = 99  # ARG_MAX is 56; 99 is another that no classifier has
    with pytest.raises(ModelError, match="which is not converted to ONNX"):
        convert(pack(model))


def test_an_activation_narrower_than_its_bytes_is_kept(photos: list[Image]) -> None:
    """An output that could hold more than a fused RELU6 lets through is clipped."""
    model = unpack(made("made_v1_128").model)
    subgraph = model.subgraphs[0]
    first = next(each for each in subgraph.operators if each.builtinOptions.fusedActivationFunction == 3)
    made_by_it = subgraph.tensors[int(first.outputs[0])]
    made_by_it.quantization.scale = made_by_it.quantization.scale * 4
    data = pack(model)
    ours, theirs = Network(converted(data)), Network(data)
    prepared = ours.prepare(photos[0])
    assert np.abs(ours.embed(prepared).astype(int) - theirs.embed(prepared)).max() <= 3


def test_other_runtimes_refuse_the_file() -> None:
    model = converted(made("made_v1_128").model)
    for runtime in ("litert", "tflite_runtime"):
        with pytest.raises(ModelError, match=f"{runtime} runs no .onnx file"):
            Network(model, runtime=runtime)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for what in (lambda: Network(made("made_v1_128").model, runtime="onnx"), lambda: import_runtime("onnx:cuda")):
        with pytest.raises(ModelError, match=r"not installed; pip install 'edged\[onnx\]'") as raised:
            what()
        assert isinstance(raised.value, ConfigError)  # exit code 2


def test_providers_are_taken_in_order_and_the_processor_is_always_there() -> None:
    has = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert onnx_runtime.choose_providers(("cuda", "tensorrt"), has) == (
        ["CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"], [],
    )  # fmt: skip
    assert onnx_runtime.choose_providers((), has) == (["CPUExecutionProvider"], [])
    assert onnx_runtime.choose_providers(("qnn", "cpu", "qnn"), has) == (["CPUExecutionProvider"], ["qnn"])


def test_a_provider_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    network = Network(made("made_v1_128").model, runtime="onnx:never_heard_of")
    assert network.providers == ("cpu",)
    assert "no provider never_heard_of" in caplog.text


def test_a_damaged_file_is_one_clear_error() -> None:
    model = converted(made("made_v1_128").model)
    random = np.random.default_rng(0)
    for length in random.integers(1, len(model), 30):
        with pytest.raises(ModelError):
            parse_graph(model[:length])
    for _ in range(60):
        broken = bytearray(model)
        for place in random.integers(0, len(model), 20):
            broken[place] = int(random.integers(256))
        try:
            parse_graph(bytes(broken))
        except ModelError:
            continue


def test_parts_that_are_missing_are_one_clear_error() -> None:
    content = converted(made("made_v1_128").model)
    for at, node in enumerate(read(content).nodes):
        for less in ({"inputs": node.inputs[:1]}, {"inputs": []}, {"attributes": {}}, {"op": "Gemm"}):
            file = read(content)
            file.nodes[at] = replace(node, **less)  # type: ignore[arg-type]  # one field of it
            with contextlib.suppress(ModelError):
                parse_graph(write(file))


def test_nodes_of_many_inputs_take_no_time_to_look_through() -> None:
    """A chain of them, each the input of the next forty times, where the weights should be."""
    file = read(converted(made("made_v1_128").model))
    chain = [Node("Mul", [f"x{at - 1}"] * 40, [f"x{at}"]) for at in range(1, 9)]
    head = next(node for node in reversed(file.nodes) if node.op in ("Gemm", "MatMul", "Conv"))
    head.inputs[1] = "x8"
    file.nodes[:0] = [Node("Identity", [file.inputs[0].name], ["x0"]), *chain]
    with pytest.raises(ModelError, match="no constants"):
        parse_graph(write(file))


def test_the_runtime_reports_to_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where no variable names a machine of tests, ONNX Runtime would write down an identifier of the device."""
    (model := tmp_path / "model.onnx").write_bytes(converted(made("made_v1_128").model))
    (home := tmp_path / "home").mkdir()
    kept = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG")
    run = "import sys; from edged.vision.network import Network; Network(open(sys.argv[1], 'rb').read())"
    subprocess.run(
        [sys.executable, "-c", run, str(model)],
        check=True,
        env={
            **{name: value for name, value in os.environ.items() if name in kept},
            "HOME": str(home),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )
    assert list(home.rglob("*")) == []


def test_a_device_without_onnx_files_loads_nothing_of_them() -> None:
    run = (
        "import sys, edged.daemon.app\n"
        "from edged.vision.network import Network\n"
        "Network(open(sys.argv[1], 'rb').read())\n"
        "print([name for name in sys.modules if name.startswith(('edged.vision.onnx', 'onnxruntime'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, str(SHIPPED / "model.tflite")], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
