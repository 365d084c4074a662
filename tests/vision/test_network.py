from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.errors import ModelError
from edged.lab.profiling import runtimes
from edged.vision.graph import Graph
from edged.vision.network import HeadNetwork, Network, Runtime, why_not_litert
from tests.conftest import SHARED_DATA
from tests.networks import KINDS, made
from tests.photos import shipped_photos, views
from tests.vision.conftest import read_rgb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edged.types import Image

SHIPPED = Path(__file__).parents[2] / "models"
RUNTIMES: tuple[Runtime, ...] = ("litert", "tflite_runtime")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    if request.param == "tflite_runtime":
        pytest.importorskip("tflite_runtime")
    return request.param  # type: ignore[no-any-return] # pytest's parameter is untyped


@pytest.fixture(scope="module")
def photos() -> list[Image]:
    return [read_rgb(file) for file in sorted(shipped_photos())[:2]]


@pytest.fixture
def known_photos(name: str, photos: list[Image]) -> list[Image]:
    """Two that the network is sure of."""
    if name in KINDS:
        return photos
    return [read_rgb(file) for file in sorted((SHARED_DATA / "photos").rglob("*.jpg"))[:2]]


def test_every_model_runs_and_its_head_alone_says_the_same(
    any_model: bytes, runtime: Runtime, known_photos: list[Image]
) -> None:
    graph = Graph(any_model)
    weights = (np.random.default_rng(1).standard_normal((5, graph.head.features)) * 0.05).astype(np.float32)
    renewed = graph.replace_head(weights, np.zeros(5, np.float32), (-6.0, 6.0))
    embeddings = []
    for model in (any_model, renewed):
        network = Network(model, runtime=runtime, threads=2)
        prepared = [network.prepare(photo) for photo in known_photos]
        inferences = [network.infer(image) for image in prepared]
        stored = np.stack([network.embed(image) for image in prepared])
        for inference, row in zip(inferences, stored, strict=True):
            assert inference.scores.shape == (network.classes,)
            assert inference.scores.dtype == np.float32
            # Of 1000 scores rounded to 1/256, those of an uncertain network mostly vanish.
            assert 0.4 < inference.scores.sum() < 1.3
            np.testing.assert_array_equal(network.bottleneck_affine.dequantize(row), inference.embedding)
        alone = HeadNetwork(model, runtime=runtime).scores(stored)
        np.testing.assert_array_equal(alone, [inference.scores for inference in inferences])
        embeddings.append(stored)
    np.testing.assert_array_equal(*embeddings)


def test_a_new_head_computes_what_numpy_computes(any_model: bytes, photos: list[Image]) -> None:
    graph = Graph(any_model)
    features = graph.head.features
    weights = np.random.default_rng(2).standard_normal((4, features)) * 1.6 / np.sqrt(features)
    weights = weights.astype(np.float32)
    bias = np.array([0.5, -0.5, 0.0, 1.0], np.float32)
    network = Network(graph.replace_head(weights, bias, (-5.0, 5.0)))
    for photo in photos:
        inference = network.infer(network.prepare(photo))
        logits = weights @ inference.embedding + bias
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(inference.scores, expected, atol=0.02)


def test_the_head_alone_says_the_same_on_sixty_photos_in_any_batch(
    smallest_model: bytes, sixty_photos: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(smallest_model)
    weights = (np.random.default_rng(3).standard_normal((5, graph.head.features)) * 0.2).astype(np.float32)
    model = graph.replace_head(weights, np.zeros(5, np.float32), (-8.0, 8.0))
    network = Network(model)
    prepared = [network.prepare(image) for image in sixty_photos]
    whole = np.stack([network.infer(image).scores for image in prepared])
    stored = np.stack([network.embed(image) for image in prepared])
    for batch in (256, 60, 7, 1):
        monkeypatch.setattr(HeadNetwork, "_BATCH", batch)
        np.testing.assert_array_equal(HeadNetwork(model).scores(stored), whole)


def test_the_head_alone_takes_no_images_and_refuses_what_does_not_fit(smallest_model: bytes) -> None:
    head, features = HeadNetwork(smallest_model), Graph(smallest_model).head.features
    assert head.scores(np.empty((0, features), np.uint8)).shape == (0, 1001)
    for wrong in (
        np.zeros((2, features - 1), np.uint8),
        np.zeros((2, features), np.int8),
        np.zeros(features, np.uint8),
    ):
        with pytest.raises(ModelError, match=f"do not fit a head that takes {features} features of type uint8"):
            head.scores(wrong)


def test_both_runtimes_agree(smallest_model: bytes, photos: list[Image]) -> None:
    pytest.importorskip("tflite_runtime")
    first, second = (Network(smallest_model, runtime=runtime) for runtime in RUNTIMES)
    for photo in photos:
        scores = [network.infer(network.prepare(photo)).scores for network in (first, second)]
        np.testing.assert_allclose(*scores, atol=0.03)


def test_auto_takes_litert(smallest_model: bytes) -> None:
    assert Network(smallest_model).runtime == "litert"


def test_an_image_of_another_size_is_a_model_error(smallest_model: bytes) -> None:
    network = Network(smallest_model)
    with pytest.raises(ModelError, match="invocation failed") as refused:
        network.infer(np.zeros((64, 64, 3), np.uint8))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_knows_views_that_its_head_was_not_fitted_to(name: str) -> None:
    network, hits = Network(made(name).model), []
    for path in shipped_photos():
        for view in views(path, 4, seed=7)[1:]:
            best = int(network.infer(network.prepare(view)).scores.argmax())
            hits.append(made(name).labels[best] == made(name).names[path.name])
    assert np.mean(hits) > 0.85


def test_the_shipped_model_knows_real_photos(shared_data: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
    labels = (folder / "labels.txt").read_text().splitlines()
    network = Network((folder / "model.tflite").read_bytes())
    assert network.classes == len(labels)
    daisies = sorted((shared_data / "flowers" / "daisy").glob("*.jpg"))[:10]
    hits = sum(
        labels[int(network.infer(network.prepare(read_rgb(file))).scores.argmax())] == "daisy" for file in daisies
    )
    assert hits >= 7


def test_a_signed_input_sees_the_same_image(runtime: Runtime, photos: list[Image]) -> None:
    """The same network with int8 at both ends and with uint8: whichever input type a file has, the photo decides."""
    signed, unsigned = (Network(made(f"made_{kind}").model, runtime=runtime) for kind in ("signed", "efficientnet"))
    assert Graph(made("made_signed").model).input.dtype == "int8"
    assert Graph(made("made_efficientnet").model).input.dtype == "uint8"
    embedded = []
    for photo in photos:
        embedded.append(signed.embed(signed.prepare(photo)))
        np.testing.assert_array_equal(embedded[-1], unsigned.embed(unsigned.prepare(photo)))
        first, second = (network.infer(network.prepare(photo)) for network in (signed, unsigned))
        np.testing.assert_array_equal(first.scores, second.scores)
    assert not np.array_equal(*embedded)


@pytest.fixture
def unloadable_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A LiteRT whose library the loader refuses, as where a wheel asks for a newer glibc than there is."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("from ai_edge_litert import _native\n")
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (package / f"_native{suffix}").write_bytes(b"\x7fELF")
    for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_litert"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_litert"]:
        del sys.modules[name]


def test_a_litert_that_does_not_load_is_passed_over(unloadable_litert: None) -> None:
    pytest.importorskip("tflite_runtime")
    model = (SHIPPED / "mobilenet_v2" / "model.tflite").read_bytes()
    assert Network(model).runtime == "tflite_runtime"
    assert "file too short" in (why_not_litert() or "")
    assert runtimes.resolve("auto") == "tflite_runtime"
    with pytest.raises(ModelError, match=r"file too short.*pip install"):
        Network(model, runtime="litert")


def test_where_litert_is_not_installed_nothing_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ai_edge_litert.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert why_not_litert() is None
