"""Classifiers as PyTorch exports them become networks that edged runs and retrains."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edged.cli import main
from edged.codec import read_image
from edged.contract.model_file import weight_files
from edged.errors import ConfigError, ModelError, NotInstalledError
from edged.resources import shipped_photos
from edged.store import read_bundle
from edged.vision.network import HeadNetwork, Network
from edged.vision.onnx_adoption import Pixels
from edged.vision.onnx_file import Node, Value, read, write
from edged.vision.onnx_graph import OnnxGraph
from edged.zoo.adoption import adopt
from edged.zoo.sent_onnx import adopt_sent
from tests.exported import CHANNELS, CLASSES, MEAN, SIZE, STD, Exported, exported, in_two_files, quantized
from tests.photos import picture

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")

PIXELS = Pixels.of(MEAN, STD)
IMAGES = [picture(seed, width=SIZE, height=SIZE) for seed in range(6)]
OTHERS = [picture(seed, width=SIZE, height=SIZE) for seed in range(50, 58)]


def adopted(source: Exported, pixels: Pixels | None = PIXELS) -> bytes:
    return adopt(source.data, IMAGES, pixels=pixels)


@pytest.mark.parametrize(
    "source",
    [exported(), exported(batch=1), exported(flatten="Reshape", batch=1), exported(softmax=True), quantized()],
    ids=["real", "one image", "one image, reshaped", "softmax", "quantized"],
)
def test_it_says_what_the_file_says(source: Exported) -> None:
    model = adopted(source)
    graph = OnnxGraph(model)
    network, head = Network(model, crop=1.0), HeadNetwork(model)
    assert (network.width, network.height, network.classes, network.features) == (SIZE, SIZE, CLASSES, CHANNELS)
    assert graph.outputs == ("scores" if source.model.nodes[-1].op == "Softmax" else "logits", "bottleneck")
    assert np.allclose(graph.head_weights(), source.constants["fc.weight"], atol=0.02)
    for image in OTHERS:
        outputs = network.invoke(image)
        inference = network.decode(outputs)
        logits, features = source.scores(image)
        wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert np.allclose(inference.embedding, features, atol=2 * network.bottleneck_affine.scale)
        assert np.allclose(inference.scores, wanted, atol=0.12)
        assert int(inference.scores.argmax()) == int(wanted.argmax())
        assert np.allclose(head.scores(outputs.bottleneck[np.newaxis])[0], inference.scores, atol=1e-4)
    weights = np.eye(3, CHANNELS, dtype=np.float32)
    renewed = Network(graph.replace_head(weights, np.zeros(3, np.float32), (0, 1)), crop=1.0)
    assert np.array_equal(renewed.embed(OTHERS[0]), network.embed(OTHERS[0]))
    assert renewed.classes == 3
    assert read(model).inputs[0].shape[0] is None, "batches are possible, and were tried"
    assert adopt(model, IMAGES) == model


def test_what_cannot_be_batched_takes_one_image_at_a_time() -> None:
    source = exported(batch=1)
    flat = next(node for node in source.model.nodes if node.op == "Flatten")
    both = Node("Reshape", ["/pool/out", "all"], flat.outputs)  # [1·16]: it would mix two images
    nodes = [both if node is flat else node for node in source.model.nodes]
    constants = {**source.constants, "all": np.array([-1, CHANNELS], np.int64), "one": np.array([0], np.int64)}
    nodes.insert(nodes.index(both), Node("ReduceSum", ["/pool/out0", "one"], ["/pool/out"], {"keepdims": 1}))
    next(node for node in nodes if node.op == "GlobalAveragePool").outputs[0] = "/pool/out0"
    model = adopted(Exported(replace(source.model, nodes=nodes, constants=constants), source.constants))
    assert read(model).inputs[0].shape[0] == 1
    logits, _ = source.scores(OTHERS[0])
    assert int(Network(model, crop=1.0).infer(OTHERS[0]).scores.argmax()) == int(logits.argmax())


def windowed() -> Exported:
    """As a Swin Transformer is exported for one image: its windows are counted, and another batch has more of them."""
    source = exported(batch=1)
    half, quarter = SIZE // 2, SIZE // 4
    shapes = {
        "apart": [1, CHANNELS, 2, quarter, 2, quarter],
        "windows": [4, CHANNELS, quarter, quarter],
        "back": [1, 2, 2, CHANNELS, quarter, quarter],
        "whole": [1, CHANNELS, half, half],
    }
    constants = {**source.constants, **{name: np.array(shape, np.int64) for name, shape in shapes.items()}}
    nodes = [
        Node("Reshape", ["/relu/out", "apart"], ["/apart"]),
        Node("Transpose", ["/apart"], ["/apart/t"], {"perm": (0, 2, 4, 1, 3, 5)}),
        Node("Reshape", ["/apart/t", "windows"], ["/windows"]),
        Node("Relu", ["/windows"], ["/windows/out"]),
        Node("Reshape", ["/windows/out", "back"], ["/back"]),
        Node("Transpose", ["/back"], ["/back/t"], {"perm": (0, 3, 1, 4, 2, 5)}),
        Node("Reshape", ["/back/t", "whole"], ["/whole"]),
    ]
    first, relu, pool, *rest = source.model.nodes
    nodes = [first, relu, *nodes, replace(pool, inputs=["/whole"]), *rest]
    return Exported(replace(source.model, nodes=nodes, constants=constants), source.constants)


def test_windows_that_are_counted_for_one_image_take_one_at_a_time() -> None:
    source = windowed()
    model = adopted(source)
    assert read(model).inputs[0].shape[0] == 1
    network = Network(model, crop=1.0)
    for image in OTHERS:
        logits, features = source.scores(image)
        inference = network.infer(image)
        assert np.allclose(inference.embedding, features, atol=2 * network.bottleneck_affine.scale)
        assert int(inference.scores.argmax()) == int(logits.argmax())


@pytest.mark.parametrize("side", [4097, 2**31, 2**40, 2**62])
def test_wild_sizes_are_refused_before_anything_is_allocated(side: int) -> None:
    real, source = np.dtype(np.float32), exported().model
    ready = read(adopted(exported()))
    told = r"^(input is \d+×32 pixels; at most 4096 a side|has an input or output with a dimension of \d+; )"
    wide = write(replace(ready, inputs=[replace(ready.inputs[0], shape=(None, 32, side, 3))]))
    with pytest.raises(ModelError, match=told):
        OnnxGraph(wide)
    with pytest.raises(ModelError, match=told):
        adopt(write(replace(source, inputs=[Value("input", real, (None, 3, 32, side))])), IMAGES, pixels=PIXELS)
    if side > 2**31:
        long = write(replace(ready, outputs=[replace(ready.outputs[0], shape=(None, side)), *ready.outputs[1:]]))
        with pytest.raises(ModelError, match=told):
            Network(long, outputs=("scores", "bottleneck"))


def test_metadata_tells_how_pixels_become_its_input() -> None:
    source = exported()
    told = {"mean": "[0.485, 0.456, 0.406]", "std": "0.229, 0.224, 0.225"}
    data = with_metadata(source.data, told)
    assert read(data).metadata == told
    assert adopt(data, IMAGES) == adopted(source)
    half = adopt(with_metadata(source.data, {"Image.NominalPixelRange": "Normalized_1_1"}), IMAGES)
    assert half == adopted(source, Pixels.of([0.5], [0.5]))
    for wrong in ({"mean": "much", "std": "1"}, {"mean": "0,0", "std": "1"}, {"Image.NominalPixelRange": "Other"}):
        with pytest.raises(ModelError, match="metadata on pixels is not understood"):
            adopt(with_metadata(source.data, wrong), IMAGES)


def with_metadata(data: bytes, told: dict[str, str]) -> bytes:
    """Append fields 14, as protocol buffers allow."""
    pairs = [b"".join(bytes([tag, len(text)]) + text.encode() for tag, text in ((10, key), (18, value)))
             for key, value in told.items()]  # fmt: skip
    return data + b"".join(bytes([14 << 3 | 2, len(pair)]) + pair for pair in pairs)


def test_blue_may_come_first() -> None:
    source = exported()
    swapped = {**source.constants, "conv.weight": np.ascontiguousarray(source.constants["conv.weight"][:, ::-1])}
    blue = adopted(Exported(replace(source.model, constants=swapped), swapped), Pixels.of(MEAN, STD, bgr=True))
    assert np.array_equal(Network(blue, crop=1.0).embed(OTHERS[0]), Network(adopted(source), crop=1.0).embed(OTHERS[0]))


def test_an_input_left_open_gets_its_size_from_whoever_knows() -> None:
    source = exported()
    open_ = replace(source.model, inputs=[Value("input", np.dtype(np.float32), (None, 3, None, None))])
    with pytest.raises(ConfigError, match=r"\?×3×\?×\?; say how large: --size 224x224"):
        adopt(write(open_), IMAGES, pixels=PIXELS)
    assert Network(adopt(write(open_), IMAGES, pixels=PIXELS, size=(48, 40)), crop=1.0).width == 48
    with pytest.raises(ConfigError, match="--size 48x99999: at most 4096 a side"):
        adopt(write(open_), IMAGES, pixels=PIXELS, size=(48, 99999))
    with pytest.raises(ConfigError, match="--size 48x40: the file's input has shape"):
        adopt(source.data, IMAGES, pixels=PIXELS, size=(48, 40))


def test_weights_in_a_file_of_their_own_are_read_where_they_may_be(tmp_path: Path) -> None:
    """As torch.onnx.export writes them for large networks."""
    values = exported().constants["fc.weight"]
    data, beside = in_two_files("net.onnx.data")
    (tmp_path / "net.onnx.data").write_bytes(beside)
    assert (weight_files(data), weight_files(exported().data)) == ({"net.onnx.data"}, set())
    with pytest.raises(ModelError, match="its weights in another file"):
        read(data)
    with pytest.raises(ModelError, match="cannot be read"):
        read(data, tmp_path / "elsewhere")
    for where in (tmp_path, tmp_path / "net.onnx.data"):
        assert np.array_equal(read(data, where).constants["fc.weight"], values)


def test_a_person_adds_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f'[storage]\nstate_dir = "{tmp_path / "state"}"\n')
    file, labels = tmp_path / "birds.onnx", tmp_path / "labels.txt"
    file.write_bytes(exported().data)
    labels.write_text("".join(f"bird {number}\n" for number in range(CLASSES)))
    mean, std = (",".join(map(str, values)) for values in (MEAN, STD))

    def add(*words: object) -> tuple[int, str]:
        try:
            code = main(
                ["models", "add", "--config", str(config), str(file), "--labels", str(labels), *map(str, words)]
            )
        except SystemExit as ended:
            code = int(str(ended.code))
        output = capsys.readouterr()
        return code, output.out if code == 0 else output.err

    for words, code, message in (
        ((), 2, "birds.onnx: the file does not say how pixels become its input; say it: --mean"),
        (("--mean", mean), 2, "--mean and --std belong together"),
        (("--bgr",), 2, "--bgr belongs to --mean and --std"),
        (("--mean", "0,1", "--std", "1"), 2, "argument --mean: '0,1': use one number or three"),
        (("--mean", "x", "--std", "1"), 2, "argument --mean: 'x': use one number or three"),
        (("--size", "224"), 2, "argument --size: '224': use width and height in pixels"),
        (("--mean", mean, "--std", std, "--photos", tmp_path / "none"), 2, "no photo can be read there"),
    ):
        assert (told := add(*words))[0] == code
        assert message in told[1]
        assert told[1].count("\n") == 1
    code, told = add("--mean", mean, "--std", std)
    assert (code, told.startswith("birds (")) == (0, True)
    bundle = read_bundle(tmp_path / "state" / "models" / "birds")
    assert bundle.file.name == "model.onnx"
    assert bundle.manifest.outputs == ("logits", "bottleneck")
    assert bundle.manifest.model_extra == {"normalisation": {"mean": [*MEAN], "std": [*STD], "bgr": False}}
    file.write_bytes(bundle.file.read_bytes())
    for words in (("--size", "32x32"), ("--photos", tmp_path), ("--mean", mean, "--std", std)):
        told = f"is in the form that edged runs and says it all itself; {words[0]} would do nothing: leave it out"
        assert add(*words) == (2, f"edged: {file}: {told}\n")
    data = write(replace(exported().model, inputs=[Value("input", np.dtype(np.float32), (None, 3, 10**9, 10**9))]))
    file.write_bytes(data)
    wide = f"edged: {file}: input is 1000000000×1000000000 pixels; at most 4096 a side are taken\n"
    assert add("--mean", mean, "--std", std) == (1, wide)
    file.write_bytes(exported().data[:500])
    assert add("--mean", mean, "--std", std) == (1, f"edged: {file}: truncated or damaged ONNX model\n")
    without = [node for node in exported().model.nodes if node.op != "Gemm"]
    flat = Value("/flat/out", np.dtype(np.float32), (None, CHANNELS))
    file.write_bytes(write(replace(exported().model, nodes=without, outputs=[flat])))
    code, told = add("--mean", mean, "--std", std)
    assert (code, "no classifier head: the output comes from GlobalAveragePool" in told) == (1, True)


def test_one_that_was_sent_is_read_by_a_child_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, said = exported(batch=1).data, {"mean": MEAN, "std": STD}
    photos = [read_image(path) for path in sorted(shipped_photos().glob("*.jpg"))]
    made = adopt_sent(data, **said, origin="birds")
    assert made == adopt(data, photos, pixels=PIXELS)
    assert adopt_sent(made, origin="birds") == made
    in_one = adopt_sent(*in_two_files("any name"), **said, origin="birds")
    assert np.array_equal(OnnxGraph(in_one).head_weights(), OnnxGraph(made).head_weights())
    for model, more, reason in (
        (data, {}, "the file does not say how pixels become its input; say it: --mean"),
        (data, {**said, "size": (8, 8)}, "--size 8x8: the file's input has shape 1×3×32×32"),
        (made, said, "is in the form that edged runs and says it all itself; --mean would do nothing"),
        (data[:500], said, "truncated or damaged ONNX model"),
    ):
        with pytest.raises((ConfigError, ModelError)) as caught:
            adopt_sent(model, **more, origin="birds")
        assert str(caught.value).startswith(f"birds: {reason}")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libcudart.so.12: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotInstalledError, match=r"^onnxruntime does not load: libcudart.so.12: no such file$"):
        adopt_sent(data, **said, origin="birds")
