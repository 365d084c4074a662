from pathlib import Path

import numpy as np
import pytest

from edged.errors import ModelError, RefusedError
from edged.learning.export import calibrate, check_folder, export, write_bundle
from edged.learning.softmax_regression import Fitted, fit
from edged.store import MANIFEST, read_bundle
from edged.vision.graph import Graph
from edged.vision.network import HeadNetwork, Network
from edged.vision.quantization import Affine
from edged.vision.scores import softmax
from tests.albums import make_album
from tests.conftest import HAS_SHARED_DATA, REPOSITORY, SHARED_DATA
from tests.networks import made
from tests.vision.conftest import network_file, read_rgb


def quantized_scores(logits: np.ndarray, affine: Affine) -> np.ndarray:
    return softmax(affine.dequantize(affine.quantize(logits, np.int8)))


def test_the_range_is_finer_than_all_logits_and_changes_hardly_a_score_that_shows() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2000, 5)).astype(np.float32) * 6
    low, high = calibrate(logits)
    assert logits.min() < low < 0 < high < logits.max()
    clipped = softmax(np.clip(logits, low, high))
    changed = abs(clipped - softmax(logits)).max(axis=1) > 5 / 512
    assert changed.mean() < 0.04
    assert (clipped.argmax(axis=1) == logits.argmax(axis=1)).mean() > 0.99
    fine = abs(quantized_scores(logits, Affine.from_range(low, high)) - softmax(logits)).mean()
    coarse = abs(quantized_scores(logits, Affine.from_range(logits.min(), logits.max())) - softmax(logits)).mean()
    assert fine < coarse


@pytest.mark.parametrize("logits", [[[0.0, 0.0]], [[3.0, 3.0]], [[-3.0, -3.0]], [[1e4, -1e4], [-1e4, 1e4]]])
def test_any_logits_have_a_range(logits: list[list[float]]) -> None:
    low, high = calibrate(np.array(logits, np.float32))
    assert low < high
    assert np.isfinite([low, high]).all()


def test_the_range_is_the_narrowest_that_changes_no_score_that_shows() -> None:
    """A score that is ln 512 = 6.24 below the best shows as 0, and of 101 images two may saturate at either end."""
    sure = np.tile(np.array([[-20.0, 0.0, 10.0]], np.float32), (101, 1))
    assert calibrate(sure) == pytest.approx((0.0, np.log(512)), abs=1e-5)
    close = np.tile(np.array([[-1.0, 0.0, 1.0]], np.float32), (101, 1))
    assert calibrate(close) == (-1.0, 1.0)
    best = np.arange(101, dtype=np.float32)[:, None] / 100
    assert calibrate(np.hstack([best, best - 0.5, best - 90])) == pytest.approx((0.02 - np.log(512), 0.98), abs=1e-4)


def test_a_head_is_calibrated_on_every_view() -> None:
    model = made("made_v1_128").model
    features = np.random.default_rng(0).integers(0, 256, (12, 2, 192)).astype(np.uint8)
    head = fit(features, np.arange(12) % 2, classes=2)
    assert export(model, head, features) == export(model, head, features.reshape(24, 192))
    assert export(model, head, features) != export(model, head, features[:, 0])


def test_an_image_that_the_head_is_not_sure_of_keeps_its_scores() -> None:
    """The others' range is 0 … ln 512: in it, logits of 0 and −6 would be the same, and both scores ½."""
    model = made("made_v1_128").model
    affine = Graph(model).bottleneck_quantization
    weights = np.zeros((2, 192), np.float32)
    weights[1, 0] = 0.09 / affine.scale
    head = Fitted(weights, np.array([0, -6], np.float32), (), 1, "epochs")
    sure = np.full((40, 192), affine.zero_point, np.uint8)
    doubtful = sure[:10].copy()
    sure[:, 0] += 200
    np.testing.assert_allclose(head.logits(sure, affine), [[0, 12]] * 40, atol=1e-4)
    np.testing.assert_allclose(head.logits(doubtful, affine), [[0, -6]] * 10, atol=1e-4)
    exported = export(model, head, sure, doubtful)
    assert exported == export(model, head, np.concatenate([sure, doubtful]))
    np.testing.assert_allclose(HeadNetwork(exported).scores(doubtful), [[0.9975, 0.0025]] * 10, atol=0.005)
    np.testing.assert_allclose(HeadNetwork(export(model, head, sure)).scores(doubtful), [[0.5, 0.5]] * 10, atol=0.01)


def test_a_bundle_is_written_where_nothing_else_lies(tmp_path: Path) -> None:
    older, empty, other, file = (tmp_path / name for name in ("older", "empty", "other", "file"))
    for folder in (older, empty, other):
        folder.mkdir()
    (older / MANIFEST).write_text("{}")
    (older / "model.tflite").write_bytes(b"")
    (other / "notes.txt").write_text("mine")
    file.write_text("mine")
    for free in (tmp_path / "new", empty, older):
        check_folder(free)
    for taken in (other, file):
        with pytest.raises(RefusedError, match="is there already and is no bundle"):
            check_folder(taken)


def test_a_bundle_is_written_whole_into_folders_that_are_made_and_over_an_older_one(tmp_path: Path) -> None:
    shipped = read_bundle(REPOSITORY / "models" / "mobilenet_v2")
    folder = tmp_path / "some" / "where" / "model"
    for labels in (shipped.labels, tuple(reversed(shipped.labels))):
        bundle = write_bundle(folder, shipped.read_model(), labels, shipped.manifest)
        assert (bundle.id, bundle.labels) == (shipped.id, labels)
        assert [path.name for path in folder.parent.iterdir()] == ["model"], "nothing is left beside it"
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError):
        write_bundle(tmp_path, shipped.read_model(), shipped.labels, shipped.manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"some", "mine.txt"}


MODELS = [("made_v1_128", "made"), ("made_birds", "made"), ("made_resnet", "made")]
MODELS += [("mobilenet_v1_0.25_128_quant", "real")] if HAS_SHARED_DATA else []


@pytest.mark.parametrize(("name", "kind"), MODELS)
def test_a_head_trained_on_photos_is_as_good_in_8_bits(tmp_path: Path, name: str, kind: str) -> None:
    model = network_file(name)
    network = Network(model, crop=1.0)
    album = SHARED_DATA / "flowers" if kind == "real" else make_album(tmp_path / "album", 50)
    folders = sorted(folder for folder in album.iterdir() if folder.is_dir())
    files = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.glob("*.jpg"))[:50]]
    stored = np.stack([network.embed(network.prepare(read_rgb(file))) for file, _ in files])
    labels = np.array([label for _, label in files])
    train = np.arange(len(files)) % 4 > 0
    head = fit(stored[train], labels[train], classes=len(folders), affine=network.bottleneck_affine)
    exported = export(model, head, stored[train])
    assert Graph(exported).head.classes == len(folders)
    quantized = HeadNetwork(exported).scores(stored[~train])
    real = softmax(head.logits(stored[~train], network.bottleneck_affine))
    assert abs(quantized - real).max() < 0.1
    truth = labels[~train]
    hits, float_hits = ((scores.argmax(axis=1) == truth).mean() for scores in (quantized, real))
    assert hits > 0.6
    assert hits >= float_hits - 0.04  # two or three images

    whole = Network(exported, crop=1.0)
    some = np.flatnonzero(~train)[::10]
    scores = [whole.infer(whole.prepare(read_rgb(files[index][0]))).scores for index in some]
    np.testing.assert_array_equal(scores, HeadNetwork(exported).scores(stored[some]))


def test_a_head_for_another_backbone_is_refused() -> None:
    model = made("made_v1_128").model
    features = np.random.default_rng(0).integers(0, 256, (8, 32)).astype(np.uint8)
    head = fit(features, np.arange(8) % 2, classes=2)
    with pytest.raises(ModelError, match="does not fit a bottleneck of 192"):
        export(model, head, features)
