"""Files that PyTorch itself exported become networks that edged runs and retrains; `pytorch/export.py` made them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edged.cli import main
from edged.store import read_bundle
from edged.vision import onnx_runtime
from edged.vision.network import HeadNetwork, Network
from edged.vision.onnx_adoption import Pixels
from edged.vision.onnx_graph import OnnxGraph
from edged.zoo.adoption import adopt
from tests.albums import put
from tests.exported import MEAN, STD
from tests.photos import picture

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")

FOLDER = Path(__file__).resolve().parent / "pytorch"
FILES = sorted(FOLDER.glob("*.onnx"))
SIZE, CLASSES = 32, 4
IMAGES = [picture(seed, width=SIZE, height=SIZE) for seed in range(12)]
COLOURS = {"blue": (200, 60, 40), "green": (40, 200, 60), "red": (60, 40, 200)}


def said(file: Path) -> NDArray[np.float32]:
    """What ONNX Runtime makes of the file as it was exported: scores, one row for each image."""
    session = onnx_runtime.load().InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = [((image / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis].astype(np.float32) for image in IMAGES]
    logits = np.concatenate([session.run(None, {name: one})[0] for one in inputs])
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_says_what_the_exported_file_says_and_takes_a_new_head(file: Path) -> None:
    model = adopt(file.read_bytes(), IMAGES[:6], pixels=Pixels.of(MEAN, STD), folder=file.parent)
    network, head, graph = Network(model, crop=1.0), HeadNetwork(model), OnnxGraph(model)
    assert (network.width, network.height, network.classes) == (SIZE, SIZE, CLASSES)
    assert graph.outputs == ("logits", "bottleneck")
    assert graph.file.inputs[0].shape[0] == (1 if file.stem.startswith("transformer") else None)
    outputs = [network.invoke(image) for image in IMAGES]
    scores = np.stack([network.decode(each).scores for each in outputs])
    wanted = said(file)
    assert np.ptp(wanted, axis=0).max() > 0.02, "it tells pictures apart"
    assert np.allclose(scores, wanted, atol=0.03)
    bottlenecks = np.stack([each.bottleneck for each in outputs])
    assert np.allclose(head.scores(bottlenecks), scores, atol=1e-4)
    assert np.array_equal(network.embed_all(IMAGES), bottlenecks)
    weights = np.random.default_rng(2).standard_normal((3, network.features)).astype(np.float32)
    renewed = Network(graph.replace_head(weights, np.zeros(3, np.float32), (-9, 9)), crop=1.0)
    inference = renewed.infer(IMAGES[0])
    logits = weights @ inference.embedding
    assert np.allclose(inference.scores, np.exp(logits) / np.exp(logits).sum(), atol=1e-4)


def test_all_of_them_are_here() -> None:
    assert len(FILES) == 6
    assert not [file for file in FOLDER.glob("*.onnx") if b"/site-packages/" in file.read_bytes()]


def test_a_person_adds_one_and_retrains_it_on_a_few_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, labels, out = tmp_path / "edged.toml", tmp_path / "labels.txt", tmp_path / "out"
    config.write_text(f'[model]\nname = "net"\n[storage]\nstate_dir = "{tmp_path / "state"}"\n')
    labels.write_text("".join(f"class {number}\n" for number in range(CLASSES)))
    for label, colour in COLOURS.items():
        for seed in range(12):
            random = np.random.default_rng([*colour, seed])
            image = np.clip(np.array(colour) + random.integers(-30, 31, (48, 64, 3)), 0, 255).astype(np.uint8)
            put(tmp_path / "photos" / label / f"{seed:02}.png", cv2.imencode(".png", image)[1].tobytes())
    pixels = ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD))]
    file = FOLDER / "mobilenetv3-qdq.onnx"
    common = ["--config", str(config)]
    assert main(["models", "add", *common, str(file), "--labels", str(labels), "--name", "net", *pixels]) == 0
    told = ["--images", str(tmp_path / "photos"), "--backbone", "net", "--out", str(out)]
    assert main(["retrain", *common, *told]) == 0, capsys.readouterr().err
    bundle = read_bundle(out)
    assert (bundle.file.name, bundle.labels) == ("model.onnx", tuple(COLOURS))
    network = Network(bundle.read_model(), crop=bundle.manifest.input.crop)
    for number, label in enumerate(bundle.labels):
        image = np.full((48, 64, 3), COLOURS[label][::-1], np.uint8)  # the files' colours stand blue first
        assert int(network.infer(network.prepare(image)).scores.argmax()) == number
