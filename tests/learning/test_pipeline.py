"""A whole training in this process, on drawn pictures and the model that ships."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.codec import decode, read_image
from edged.contract.hyperparameters import Hyperparameters
from edged.errors import RefusedError
from edged.images import Embedding, ImageStore, Kept, Split, variant
from edged.learning import Progress, TrainingRequest
from edged.learning.bottlenecks import Backbone
from edged.learning.dataset import KeptBottlenecks
from edged.learning.export import export
from edged.learning.pipeline import train
from edged.learning.softmax_regression import Fitted, fit
from edged.sensors import performance
from edged.store import Store, read_bundle
from edged.vision.graph import Graph
from edged.vision.network import Network
from edged.vision.onnx_conversion import convert
from edged.zoo.install import install
from tests.albums import LABELS, make_album, picture, put
from tests.learning.conftest import SHIPPED, request_for
from tests.networks import KINDS, made


@pytest.fixture
def request_(tmp_path: Path) -> TrainingRequest:
    """20 pictures of each label in the device's own folder."""
    return request_for(tmp_path, epochs=40, batch=16, workers=2)


def quiet(_: Progress) -> None:
    pass


def test_a_training_ends_with_a_bundle_that_is_what_the_report_says(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    jetson = Path(__file__).parents[1] / "sensors" / "tx2_root"
    monkeypatch.setattr(performance.read_performance, "__defaults__", (jetson,))
    told: list[Progress] = []
    outcome = train(request_, told.append)
    report = outcome.report.to_json()
    assert outcome.status == "succeeded"
    assert outcome.bundle is not None
    assert report["counts"] == dict.fromkeys(LABELS, 20)
    assert sum(report["splits"].values()) == 60
    assert report["accuracy"]["quantized"] >= 0.75
    assert report["spot_checks"] >= min(8, report["splits"]["test"])
    assert report["skipped"] == []
    assert set(report["seconds"]) >= {"scan", "bottlenecks", "training", "export", "evaluation", "total"}
    assert set(report["classes"]) == set(LABELS)
    assert [point["images"] for point in report["learning_curve"]["points"]][-1] == report["splits"]["train"]
    assert list(map(sum, report["confusion"]["counts"])) == [one["images"] for one in report["classes"].values()]
    assert report["training"]["history"]["epoch"][-1] == report["training"]["epochs"]
    assert report["decision"]["against"] == read_bundle(SHIPPED).id
    assert report["performance"]["nvpmodel"] == "MAXP_CORE_ARM"
    assert report["performance"]["clock_mhz"] == {"cpu": 2035, "gpu": 1135}
    assert report["calibration"]["images"] == 60
    assert sum(one["images"] for one in report["calibration"]["bins"]) == 60

    bundle = read_bundle(outcome.bundle)
    assert bundle.id == report["model"]
    assert bundle.labels == LABELS
    assert bundle.accuracy == report["accuracy"]["quantized"]
    assert bundle.manifest.backbone_sha256 == read_bundle(SHIPPED).manifest.sha256
    assert bundle.manifest.parent == read_bundle(SHIPPED).id
    assert Store(request_.state_dir).current("mobilenet_v2").id == bundle.manifest.parent  # nothing is promoted

    # The reported accuracy is that of the file: every test image through the whole network.
    store = ImageStore(request_.state_dir, images_max_mb=100)
    tests = [image for image in store.labeled() if image.split == "test"]
    store.close()
    network = Network(bundle.read_model(), crop=bundle.manifest.input.crop)
    right = [
        bundle.labels[int(network.infer(network.prepare(read_image(image.path))).scores.argmax())] == image.label
        for image in tests
    ]
    assert report["accuracy"]["quantized"] == pytest.approx(np.mean(right), abs=1e-4)

    assert list(dict.fromkeys(one.stage for one in told)) == [
        "scan", "bottlenecks", "training", "comparison", "export", "evaluation", "learning curve", "writing",
    ]  # fmt: skip
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert {"epoch", "loss", "accuracy"} <= set(next(one.detail for one in told if "epoch" in one.detail))
    assert len(list((request_.state_dir / "runs" / "job-1").glob("*/events.out.tfevents.*"))) == 4


def test_the_same_images_and_seed_give_the_same_model_and_no_bottleneck_is_computed_twice(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(request_, quiet)
    monkeypatch.setattr("edged.learning.bottlenecks.decode", None)  # whoever calls it now fails
    second = train(replace(request_, run="job-2"), quiet)
    monkeypatch.undo()
    other = train(replace(request_, run="job-3", hyperparameters=Hyperparameters(epochs=40, batch=16, seed=7)), quiet)
    assert second.report.model == first.report.model
    assert other.report.model != first.report.model


def test_a_retrained_model_is_retrained_again(request_: TrainingRequest) -> None:
    first = train(request_, quiet)
    assert first.bundle is not None
    make_album(request_.state_dir / "images", per_label=6, first=100)
    request = replace(request_, backbone=first.bundle, current=first.bundle, run="job-2")
    few = train(request, quiet)
    assert (few.status, few.report.decision.verdict) == ("rejected", "undecided"), "60 images cannot show 2 points"
    again = train(replace(request, accept=True), quiet)
    assert again.report.to_json()["decision"]["against"] == first.report.model
    assert again.report.to_json()["accuracy"]["previous"] is not None
    assert again.bundle is not None
    bundle = read_bundle(again.bundle)
    assert (bundle.backbone, bundle.name) == ("mobilenet_v2", "mobilenet_v2-retrained")
    assert bundle.manifest.training["decision"]["accepted"] is True
    assert bundle.manifest.backbone_sha256 == read_bundle(SHIPPED).manifest.sha256


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")
def test_an_onnx_network_is_retrained_again_and_again(request_: TrainingRequest) -> None:
    shipped = read_bundle(SHIPPED)
    model = convert(Graph(shipped.read_model()).expose_bottleneck(), unsigned=True)
    store = Store(request_.state_dir)
    bundle = store.add(model, shipped.labels, name="net", width=224, height=224)
    first = train(replace(request_, backbone=bundle.path, current=bundle.path), quiet)
    assert first.bundle is not None
    made = read_bundle(first.bundle)
    assert (made.file.name, made.labels, made.manifest.outputs) == ("model.onnx", LABELS, ("scores", "bottleneck"))
    assert made.manifest.backbone_sha256 == bundle.manifest.sha256
    report = first.report.to_json()
    assert report["accuracy"]["quantized"] >= 0.75
    assert report["spot_checks"] >= min(8, report["splits"]["test"])

    images = ImageStore(request_.state_dir, images_max_mb=100)
    tests = [image for image in images.labeled() if image.split == "test"]
    images.close()
    network = Network(made.read_model(), crop=made.manifest.input.crop, outputs=made.manifest.outputs)
    right = [
        made.labels[int(network.infer(network.prepare(read_image(image.path))).scores.argmax())] == image.label
        for image in tests
    ]
    assert report["accuracy"]["quantized"] == pytest.approx(np.mean(right), abs=1e-4)

    request = replace(request_, backbone=first.bundle, current=first.bundle, run="job-2", accept=True)
    make_album(request_.state_dir / "images", per_label=6, first=100)
    again = train(request, quiet)
    assert again.report.to_json()["decision"]["against"] == first.report.model
    assert again.bundle is not None
    assert read_bundle(again.bundle).manifest.backbone_sha256 == bundle.manifest.sha256


def test_the_next_training_takes_up_what_this_one_has_found(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current model is made again only where its own training had nothing to compare it with."""
    first = train(request_, quiet)
    request = replace(request_, current=first.bundle, accept=True)
    make_album(request.state_dir / "images", per_label=1, first=100)
    second = train(replace(request, run="job-2"), quiet)
    make_album(request.state_dir / "images", per_label=1, first=101)
    request = replace(request, current=second.bundle, run="job-3")
    assert second.bundle is not None
    kept = second.bundle / "left_out.json"
    content = kept.read_bytes()
    kept.unlink()
    slow = train(replace(request, out=request.state_dir / "out"), quiet)
    kept.write_bytes(content)
    monkeypatch.setattr("edged.learning.incumbent.predict_left_out", None)  # whoever calls it now fails
    third = train(request, quiet)
    assert third.status == slow.status == "succeeded"
    assert third.report.decision == slow.report.decision
    assert third.report.decision.against == second.report.model
    assert third.report.accuracy == slow.report.accuracy


def test_the_learning_curve_of_nearly_the_same_images_is_gone_on_with(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(request_, quiet)
    monkeypatch.setattr("edged.learning.learning_curve.fit", None)  # whoever calls it now fails
    again = train(replace(request_, current=first.bundle, run="job-2"), quiet)
    assert again.status == "succeeded"
    *before, last = first.report.to_json()["learning_curve"]["points"]
    told = again.report.to_json()["learning_curve"]["points"]
    assert told == [*({**one, "taken_over": True} for one in before), last]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_is_retrained(tmp_path: Path, name: str) -> None:
    """With a head for three labels, measured as it will run, twice over: the second time on the first one's result."""
    kind, made_network = KINDS[name], made(name)
    store = Store(tmp_path)
    backbone = install(store, made_network.model, made_network.labels, name=name, origin=name)
    before = Network(backbone.read_model())
    make_album(tmp_path / "images", 16)
    request = TrainingRequest(
        state_dir=tmp_path,
        backbone=backbone.path,
        current=backbone.path,
        run="one",
        workers=1,
        hyperparameters=Hyperparameters(epochs=30, batch=16),
    )
    first = train(request, quiet)
    assert (first.status, first.report.backbone) == ("succeeded", name)
    assert first.bundle is not None
    bundle = read_bundle(first.bundle)
    graph, network = Graph(bundle.read_model()), Network(bundle.read_model())
    assert (bundle.labels, network.classes, network.features) == (LABELS, 3, before.features)
    assert graph.outputs == ("scores", "bottleneck")
    assert graph.input.dtype == ("int8" if kind.signed else "uint8")
    assert graph.bottleneck_dtype == ("uint8" if kind.legacy else "int8")
    hits = []
    for label in LABELS:
        for seed in range(500, 504):
            prepared = network.prepare(decode(picture(label, seed)))
            np.testing.assert_array_equal(network.embed(prepared), before.embed(prepared))
            hits.append(LABELS[int(network.infer(prepared).scores.argmax())] == label)
    assert np.mean(hits) >= 0.75
    assert first.report.to_json()["accuracy"]["quantized"] >= 0.75
    again = train(
        replace(
            request,
            backbone=first.bundle,
            current=first.bundle,
            run="two",
            hyperparameters=Hyperparameters(epochs=30, batch=16, seed=1),
        ),
        quiet,
    )
    assert again.report.to_json()["accuracy"]["previous"] == pytest.approx(
        first.report.to_json()["accuracy"]["cross_validated"], abs=0.05
    )
    assert again.report.to_json()["accuracy"]["quantized"] >= 0.75


def test_augmented_views_are_kept_too(request_: TrainingRequest) -> None:
    outcome = train(replace(request_, hyperparameters=Hyperparameters(epochs=40, batch=16, augment=True)), quiet)
    assert outcome.report.to_json()["accuracy"]["quantized"] >= 0.75
    store = ImageStore(request_.state_dir, images_max_mb=100)
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    kept = {view: store.embeddings(backbone.sha256, backbone.variant(view)) for view in ("plain", "flip", "crop")}
    store.close()
    assert len(kept["plain"]) == 60
    assert len(kept["flip"]) == len(kept["crop"]) == outcome.report.splits["train"]


def test_a_kept_frame_is_not_inferred_again(request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = read_bundle(SHIPPED)
    live = Network(shipped.read_model(), crop=shipped.manifest.input.crop)
    store = ImageStore(request_.state_dir, images_max_mb=100)
    kept: dict[str, bytes] = {}
    for seed in range(100, 106):  # as the daemon does with a frame that it labels
        frame = put(request_.state_dir / "frame.jpg", picture("discs", seed))
        sha256 = store.add(frame.read_bytes(), "discs", by="last", kept=Kept("last"))
        bottleneck = live.embed(live.prepare(read_image(frame)))
        kept[sha256] = bottleneck.tobytes()
        store.put_embeddings(
            [
                Embedding(
                    sha256, shipped.manifest.backbone_sha256, variant(shipped.manifest.input.crop), kept[sha256],
                    "int8" if bottleneck.dtype == np.int8 else "uint8", *live.bottleneck_affine,
                )
            ]
        )  # fmt: skip
    decoded: list[int] = []
    monkeypatch.setattr(
        "edged.learning.bottlenecks.decode",
        lambda data, *size, **crop: decoded.append(len(data)) or decode(data, *size, **crop),
    )
    outcome = train(request_, quiet)
    assert len(decoded) == 60  # the drawn ones
    backbone = Backbone.of(shipped, "auto")
    frames = [image for image in store.labeled() if image.kept]
    assert outcome.report.counts["discs"] == 26
    assert {image.sha256 for image in frames} == set(kept)
    assert kept.keys().isdisjoint(store.embedded(backbone.sha256, backbone.variant("plain")))
    rows = KeptBottlenecks(store, backbone).array(frames)
    store.close()
    assert [row.tobytes() for row in rows] == [kept[image.sha256] for image in frames]
    train(replace(request_, run="job-2"), quiet)
    assert len(decoded) == 60


def test_a_model_that_is_not_good_enough_is_refused(request_: TrainingRequest) -> None:
    for path in (request_.state_dir / "images" / LABELS[0]).iterdir():  # nobody can tell these two labels apart
        if int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) % 2:
            path.rename(request_.state_dir / "images" / LABELS[1] / f"other-{path.name}")
    outcome = train(replace(request_, hyperparameters=Hyperparameters(min_accuracy=1.0)), quiet)
    assert outcome.status == "rejected"
    assert "min_accuracy" in (outcome.error or "")
    assert outcome.report.accuracy.quantized is not None
    assert Store(request_.state_dir).versions() == []


def test_a_file_that_lost_what_its_head_knew_is_refused(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range so wide that 8 bits make all logits the same."""
    monkeypatch.setattr("edged.learning.export.calibrate", lambda _: (-1e4, 1e4))
    outcome = train(request_, quiet)
    assert outcome.report.accuracy.cross_validated > 0.8
    assert outcome.report.accuracy.quantized < 0.5
    assert outcome.status == "rejected"
    assert "the exported file is right on" in (outcome.error or "")


def test_scores_mean_something_although_the_logits_are_tiny(request_: TrainingRequest) -> None:
    """After one step of a millionth the head knows its labels and all its scores are a third; the file's are not."""
    outcome = train(replace(request_, hyperparameters=Hyperparameters(epochs=1, lr=1e-6)), quiet)
    found, told = outcome.report.calibration, outcome.report.accuracy
    assert told.cross_validated > 0.8
    assert told.quantized > 0.8
    assert (found.temperature < 0.01, found.images) == (True, 60)
    assert found.before.error == pytest.approx(told.cross_validated - 1 / 3, abs=0.01)
    assert found.after.error < 0.1
    assert outcome.bundle is not None
    assert np.mean(scores_of_new_pictures(read_bundle(outcome.bundle).read_model())) > 0.7


def test_scores_of_what_cannot_be_guessed_are_low(request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels drawn at random: whoever asks the images that a head was made of takes it for a good one."""
    images = sorted((request_.state_dir / "images").rglob("*.jpg"))
    random = np.random.default_rng(0)
    for image, label in zip(images, random.permutation([image.parent.name for image in images]), strict=True):
        image.rename(image.parents[1] / label / f"{image.parent.name}-{image.name}")
    files: list[bytes] = []
    monkeypatch.setattr("edged.learning.pipeline.export", lambda *made: files.append(export(*made)) or files[-1])
    outcome = train(replace(request_, hyperparameters=Hyperparameters(epochs=100)), quiet)
    assert outcome.report.accuracy.cross_validated < 0.45
    assert np.mean(scores_of_new_pictures(files[0])) < 0.45


def test_a_file_is_calibrated_on_the_images_of_every_side(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def exported(model: bytes, head: Fitted, *features: Any) -> bytes:
        given.append(sum(map(len, features)))
        return export(model, head, *features)

    monkeypatch.setattr("edged.learning.pipeline.export", exported)
    assert sum(train(request_, quiet).report.splits.values()) == 60
    assert given == [60]


def scores_of_new_pictures(model: bytes) -> list[float]:
    """Return the best score of each of some pictures that no training saw, through the whole file."""
    network = Network(model, crop=1.0)
    pictures = [decode(picture(label, seed)) for label in LABELS for seed in range(700, 708)]
    return [float(network.infer(network.prepare(one)).scores.max()) for one in pictures]


def test_a_model_that_is_worse_than_the_current_one_is_refused(request_: TrainingRequest) -> None:
    """Half of the images of two labels change sides: nobody can learn them, and those that stay are known worse."""
    make_album(request_.state_dir / "images", per_label=30, first=100)
    good = train(request_, quiet)
    folders = [request_.state_dir / "images" / label for label in LABELS[:2]]
    for here, there in (folders, folders[::-1]):
        for path in sorted(here.iterdir()):
            if int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) % 2 and not path.name.startswith("from-"):
                path.rename(there / f"from-{here.name}-{path.name}")
    worse = train(
        replace(request_, current=good.bundle, hyperparameters=Hyperparameters(min_accuracy=0.0), run="job-2"), quiet
    )
    assert worse.status == "rejected"
    assert worse.report.decision.verdict == "refused"
    assert worse.report.decision.made_again is True


def test_files_that_cannot_be_used_are_named(request_: TrainingRequest) -> None:
    images = request_.state_dir / "images"
    put(images / "discs" / "cut.jpg", picture("discs", 500)[:-200])
    put(images / "discs" / "empty.jpg", b"")
    put(images / "discs" / "text.jpg", b"hello")
    put(images / "discs" / "notes.txt", b"hello")
    put(images / "rare" / "one.jpg", picture("checks", 600))
    outcome = train(request_, quiet)
    assert outcome.status == "succeeded"
    skipped = {one.file: one.reason for one in outcome.report.skipped}
    assert {Path(file).name for file in skipped} == {"cut.jpg", "empty.jpg", "text.jpg", "notes.txt"}
    assert all(skipped.values())
    assert list(outcome.report.left_out) == ["rare"]


@pytest.mark.parametrize("labels", [(), ("discs",)])
def test_too_few_labels_are_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    make_album(tmp_path / "images", 8, labels)
    with pytest.raises(RefusedError, match="at least two labels"):
        train(TrainingRequest(state_dir=tmp_path, backbone=SHIPPED, run="job"), quiet)


def test_somebody_s_folder_is_only_read(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in album.rglob("*.jpg")}
    request = TrainingRequest(
        state_dir=tmp_path / "state",
        images=album,
        backbone=SHIPPED,
        run="job",
        out=tmp_path / "out",
        hyperparameters=Hyperparameters(batch=16),
    )
    outcome = train(request, quiet)
    assert outcome.bundle == tmp_path / "out"
    assert read_bundle(tmp_path / "out").id == outcome.report.model
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in album.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "state" / "images").exists()
    train(request, quiet)  # a bundle may be replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(RefusedError, match="is no bundle"):
        train(replace(request, out=tmp_path / "mine"), quiet)
    with pytest.raises(RefusedError, match="no such folder"):
        train(replace(request, images=tmp_path / "nowhere"), quiet)


def test_files_that_were_put_there_this_moment_are_trained_on(tmp_path: Path) -> None:
    request = TrainingRequest(
        state_dir=tmp_path,
        backbone=SHIPPED,
        run="job-1",
        hyperparameters=Hyperparameters(epochs=5, batch=16),
        workers=2,
    )
    for path in make_album(tmp_path / "images", 12).rglob("*.jpg"):
        path.touch()
    outcome = train(request, quiet)
    assert outcome.report.counts == dict.fromkeys(LABELS, 12)
    assert outcome.report.skipped == ()


def test_photos_that_judge_take_no_part_in_the_model(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every test photo under a wrong label, the same head comes out but for its temperature, and the verdict.

    Test photos are left out in the cross-validation, too, that finds the temperature: one number, which changes no
    answer. The heads of the learning curve are the same.

    The same with the validation photos: they choose the epoch, so there the training goes another way.
    """
    how = Hyperparameters(epochs=40, batch=16, patience=5, min_accuracy=0.0)
    request = replace(request_, current=None, hyperparameters=how)
    heads: list[bytes] = []
    final: list[Fitted] = []

    def recorded(*args: Any, **options: Any) -> Fitted:
        head = fit(*args, **options)
        heads.append(head.weights.tobytes())
        return head

    def exported(model: bytes, head: Fitted, *features: Any) -> bytes:
        final.append(head)
        return export(model, head, *features)

    monkeypatch.setattr("edged.learning.learning_curve.fit", recorded)
    monkeypatch.setattr("edged.learning.pipeline.export", exported)
    first = train(request, quiet)
    mislabel(request, "test")
    judged_wrong = train(replace(request, run="job-2"), quiet)
    assert len(heads) == 6
    assert heads[:3] == heads[3:]
    assert judged_wrong.report.accuracy.quantized < 0.5 <= first.report.accuracy.quantized
    temperatures = [one.report.calibration.temperature for one in (first, judged_wrong)]
    assert temperatures[1] > 1.1 * temperatures[0], "there is more doubt"
    for name in ("weights", "bias"):
        one, other = (getattr(head, name) * divisor for head, divisor in zip(final, temperatures, strict=True))
        np.testing.assert_allclose(one, other, rtol=1e-3)
    assert judged_wrong.report.training == first.report.training
    mislabel(request, "validation")
    misled = train(replace(request, run="job-3"), quiet)
    assert misled.report.training.validation_loss > first.report.training.validation_loss
    assert misled.report.training.best_epoch < first.report.training.best_epoch


def mislabel(request: TrainingRequest, split: Split) -> None:
    """Put each image of a split under the next label; which split an image falls to does not depend on that."""
    store = ImageStore(request.state_dir, images_max_mb=100)
    before = store.labeled()
    store.close()
    for image in before:
        if image.split == split:
            label = LABELS[(LABELS.index(image.label) + 1) % len(LABELS)]
            image.path.rename(image.path.parent.parent / label / f"moved-{image.path.name}")
    store = ImageStore(request.state_dir, images_max_mb=100)
    store.scan()
    after = {image.sha256: image for image in store.labeled()}
    store.close()
    assert {image.sha256: image.split for image in before} == {sha: image.split for sha, image in after.items()}
    assert all((after[image.sha256].label != image.label) == (image.split == split) for image in before)
