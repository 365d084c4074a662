"""Views of an image, and their bottlenecks."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edged.codec import read_image
from edged.images import Embedding
from edged.learning.bottlenecks import AUGMENTED, Backbone, Task, Unreadable, View, extract, make_view
from edged.store import read_bundle
from edged.vision import onnx_runtime
from edged.vision.graph import Graph
from edged.vision.network import Network
from edged.vision.onnx_conversion import convert
from edged.vision.onnx_file import read, write
from tests.albums import picture, put
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "mobilenet_v2"

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize("view", AUGMENTED)
def test_a_view_is_the_same_for_the_same_seed_and_leaves_the_photo_alone(view: View) -> None:
    before = PHOTO.copy()
    first, second = make_view(PHOTO, view, 5), make_view(PHOTO, view, 5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(PHOTO, before)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def test_a_flip_twice_is_the_photo() -> None:
    np.testing.assert_array_equal(make_view(make_view(PHOTO, "flip", 1), "flip", 2), PHOTO)
    np.testing.assert_array_equal(make_view(PHOTO, "plain", 1), PHOTO)


def test_crops_lie_anywhere_and_keep_most() -> None:
    shapes = {make_view(PHOTO, "crop", seed).shape for seed in range(30)}
    assert len(shapes) > 5
    assert all(45 <= rows < 60 and 60 <= columns < 80 for rows, columns, _ in shapes)
    assert make_view(np.zeros((1, 1, 3), np.uint8), "crop", 0).shape == (1, 1, 3)


def test_brightness_goes_both_ways_and_saturates() -> None:
    grey = np.full((4, 4, 3), 128, np.uint8)
    values = [int(make_view(grey, "brightness", seed)[0, 0, 0]) for seed in range(40)]
    assert 70 < min(values) < 110
    assert 150 < max(values) <= 192
    white = np.full((4, 4, 3), 255, np.uint8)
    assert max(int(make_view(white, "brightness", seed).max()) for seed in range(20)) == 255


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")
def test_batches_give_what_each_image_gives_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, which gains nothing by them: an accelerator is given its images on the same way."""
    backbone = Backbone.of(read_bundle(SHIPPED), "onnx")
    tasks = [
        Task(f"{number}" * 64, put(tmp_path / f"{number}.jpg", picture("discs", number)), ("plain", "flip"))
        for number in range(7)
    ]
    tasks.insert(2, Task("f" * 64, tmp_path / "gone.jpg", ("plain",)))

    def rows(networks: list[Network]) -> list[Embedding]:
        results = list(extract(tasks, backbone, workers=1, idle=networks))
        assert sum(isinstance(result, Unreadable) for result in results) == 1
        return [row for result in results if isinstance(result, list) for row in result]

    alone = rows([backbone.network()])
    together = backbone.network()
    assert together.batch == 1
    together.batch = 3
    sizes: list[int] = []
    monkeypatch.setattr(together, "_run", lambda batch: sizes.append(len(batch)) or Network._run(together, batch))
    assert rows([together]) == alone
    assert sizes == [3, 1, 3, 3, 3, 1], "three images a time, one of them gone, with two views each, and the last two"
    assert len({row.data for row in alone}) == 14


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")
def test_an_accelerator_is_given_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the name of the provider is another one's: no test can count on a GPU."""
    model = convert(Graph(read_bundle(SHIPPED).read_model()).expose_bottleneck())
    assert onnx_runtime.Interpreter(model, 1).batch == 1
    monkeypatch.setattr(onnx_runtime, "short_name", lambda _: "cuda")
    assert onnx_runtime.Interpreter(model, 1).batch == onnx_runtime.ACCELERATED_BATCH
    one = read(model)
    one.inputs = [replace(one.inputs[0], shape=(1, 224, 224, 3))]
    assert onnx_runtime.Interpreter(write(one), 1).batch == 1, "the file takes one image at a time"


def test_an_image_that_breaks_after_the_scan_is_skipped(tmp_path: Path) -> None:
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    good = put(tmp_path / "good.jpg", picture("discs", 1))
    bad = put(tmp_path / "bad.jpg", b"\xff\xd8\xff broken")
    tasks = [Task("a" * 64, good, ("plain", "flip")), Task("b" * 64, bad, ("plain",)),
             Task("c" * 64, tmp_path / "gone.jpg", ("plain",))]  # fmt: skip
    results = list(extract(tasks, backbone, workers=2))
    rows = [row for result in results if isinstance(result, list) for row in result]
    reasons = {result.task.path.name: result.reason for result in results if not isinstance(result, list)}
    assert set(reasons) == {"bad.jpg", "gone.jpg"}
    network = backbone.network()
    expected = network.embed(network.prepare(read_image(good)))
    assert [row.variant for row in rows] == ["crop=1", "crop=1,flip"]
    assert rows[0].data == expected.tobytes()
    assert rows[1].data != rows[0].data


def test_a_crop_that_is_asked_for_is_decoded_large_enough() -> None:
    backbone = Backbone.of(read_bundle(SHIPPED), "auto", crop=0.8)
    assert backbone.smallest_crop(("plain", "flip")) == 0.8
    assert backbone.smallest_crop(AUGMENTED) == pytest.approx(0.6)
    assert [backbone.variant(view) for view in AUGMENTED] == [
        "crop=0.8", "crop=0.8,flip", "crop=0.8,crop", "crop=0.8,brightness"
    ]  # fmt: skip
