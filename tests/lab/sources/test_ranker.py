import csv
import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from edged import resources
from edged.contract.hyperparameters import Hyperparameters
from edged.errors import RefusedError
from edged.images import open_images
from edged.lab.sources import Ranker, footprint, read_known_sources
from edged.lab.sources.footprint import Footprint
from edged.lab.sources.racing import stratified_order
from edged.lab.sources.ranker import UnaffordableError
from edged.lab.sources.transferability import p2l
from edged.lab.trainer import choose
from edged.learning import Limits, TrainingRequest, candidates, choose_backbone
from edged.learning.bottlenecks import Backbone
from edged.learning.dataset import select
from edged.learning.pipeline import train
from edged.store import Store, read_bundle, read_labels
from edged.zoo.install import install
from tests.albums import LABELS, make_album
from tests.networks import KINDS, make

SHIPPED = resources.shipped("models") / "mobilenet_v2"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The shipped network, and the same one as a file of other bytes, whose origin edged cannot know."""
    store = Store(tmp_path / "state")
    model = read_bundle(SHIPPED).read_model() + bytes(16)
    install(store, model, read_bundle(SHIPPED).labels, name="other", origin="other")
    return store


@contextmanager
def ranker(store: Store, album: Path, bundles=None, limits: Limits | None = None, **more) -> Iterator[Ranker]:
    with closing(open_images(store.path, album, 100.0)) as images:
        images.scan(settle_s=0)
        yield Ranker(
            images,
            select(images.labeled()),
            store.installed() if bundles is None else bundles,
            current=store.find("mobilenet_v2"),
            runtime="auto",
            workers=1,
            limits=limits,
            **more,
        )


@pytest.fixture
def two(tmp_path: Path) -> tuple[Store, list]:
    """Small networks: one is pooled after its first layers, which see colours and edges, the other after 23."""
    store = Store(tmp_path / "state")
    for name, cut in (("a_shallow", 3), ("deep", 23)):
        network = make(dataclasses.replace(KINDS["made_v1_128"], cut=cut))
        install(store, network.model, network.labels, name=name, origin=name)
    return store, [store.find(name) for name in ("a_shallow", "deep")]


def test_the_table_knows_the_shipped_network():
    known = read_known_sources()
    shipped = known.of(read_bundle(SHIPPED))
    assert read_bundle(SHIPPED).manifest.sha256 in known.reference_sha256
    assert shipped is not None
    assert shipped.dataset == "ImageNet"
    assert shipped.mean.shape == (1280,)
    assert {source.dataset for source in known.by_sha256.values()} == {
        "ImageNet",
        "iNaturalist 2017 birds",
        "iNaturalist 2017 insects",
    }


def test_an_estimate_leaves_the_unknown_for_last_and_says_so(store, tmp_path):
    album = make_album(tmp_path / "album", 10)
    with ranker(store, album) as one:
        ranking = one.estimate()
    assert [standing.bundle.name for standing in ranking.standings] == ["mobilenet_v2", "other"]
    report = ranking.report()
    assert report.chosen == "mobilenet_v2"
    assert report.sources[0].divergence > 0
    first = ranking.standings[0]  # what is shown is what it is ranked by
    assert first.score == pytest.approx(p2l(first.divergence, first.source.images, first.source.accuracy))
    assert report.sources[1].warning == "what it was trained on is not known"
    assert "divergence" not in report.sources[1].to_json()
    assert "1,281,167 images" in report.reason


def test_measuring_needs_no_table_and_leaves_the_test_side_alone(store, tmp_path):
    album = make_album(tmp_path / "album", 12)
    with ranker(store, album) as one:
        ranking = one.measure()
    with closing(open_images(store.path, album, 100.0)) as images:
        judged = [image for image in images.labeled() if image.split != "test"]
    first, second = ranking.standings
    assert len(first.measured.correct) == len(judged) == ranking.images
    assert np.array_equal(first.measured.correct, second.measured.correct)  # the same network twice
    assert 0 < ranking.baseline <= 1
    assert {"accuracy", "error", "seconds"} <= ranking.report().sources[1].to_json().keys()


@pytest.mark.parametrize(("more", "way"), [(0, "race"), (1, "exact")])
def test_where_images_are_few_every_network_sees_all_of_them(store, tmp_path, monkeypatch, more, way):
    album = make_album(tmp_path / "album", 12)
    told = []
    with ranker(store, album) as one:
        exact = one.measure(3)
        monkeypatch.setattr("edged.lab.sources.ranker.FEW", exact.images + more)
        ranking = one.race(3, told.append)
    assert ranking.way == way
    assert told[-1] > 0
    assert told == sorted(told)
    if way == "exact":
        assert told == [0.5, 1.0]
        assert ranking.reason.startswith(f"{exact.images} images: all networks saw all of them; ")
        assert (ranking.reason, ranking.baseline) == (exact.reason, exact.baseline)
        for mine, other in zip(ranking.standings, exact.standings, strict=True):
            assert mine.bundle.name == other.bundle.name
            assert np.array_equal(mine.measured.likelihood, other.measured.likelihood)
            assert len(mine.measured.correct) == exact.images
    else:
        assert ranking.rounds >= 1
        assert ranking.reason.startswith("race over ")
        assert ranking.baseline is None


def test_one_backbone_is_nothing_to_choose_from(tmp_path):
    store = Store(tmp_path / "state")
    album = make_album(tmp_path / "album", 8)
    with (
        pytest.raises(RefusedError, match=r"nothing to choose from: 1 backbone is installed \(mobilenet_v2\)"),
        ranker(store, album),
    ):
        pass
    with pytest.raises(RefusedError, match="backbone = auto: nothing to choose from, installed is only mobilenet_v2"):
        candidates(store, "auto")


def test_the_reference_must_be_installed(store, tmp_path):
    other = store.find("other")
    again = tmp_path / "again"
    shutil.copytree(other.path, again)
    manifest = (again / "manifest.json").read_text().replace(other.manifest.sha256, "0" * 64)
    (again / "manifest.json").write_text(manifest)
    with (
        ranker(store, make_album(tmp_path / "album", 8), [other, read_bundle(again)]) as one,
        pytest.raises(RefusedError, match="without --divergence does without it"),
    ):
        one.estimate()


def test_auto_trains_on_what_it_chose(store, tmp_path):
    current = store.find("mobilenet_v2")
    assert choose_backbone(store, current, "auto").id == current.id
    assert candidates(store, None) == ()
    album = make_album(tmp_path / "album", 12)
    told = []
    request = TrainingRequest(
        state_dir=store.path,
        backbone=current.path,
        candidates=candidates(store, "auto"),
        current=current.path,
        run="auto",
        images=album,
        hyperparameters=Hyperparameters(epochs=20, min_accuracy=0.0),
        workers=1,
        out=tmp_path / "out",
    )
    outcome = train(request, told.append, choose)
    assert outcome.status == "succeeded"
    assert outcome.report.choice.chosen == "mobilenet_v2" == outcome.report.backbone
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)


def test_the_network_that_sees_more_is_measured_to_be_better(tmp_path):
    """One legacy network is pooled after its first layers, which see colours and edges, the other after eleven."""
    store = Store(tmp_path / "state")
    for name, cut in (("deep", 23), ("shallow", 3)):
        network = make(dataclasses.replace(KINDS["made_v1_128"], cut=cut))
        install(store, network.model, network.labels, name=name, origin=name)
    album = make_album(tmp_path / "album", 24)
    with ranker(store, album) as one:
        measured = {standing.bundle.name: standing.measured.accuracy for standing in one.measure().standings}
    assert list(measured)[-1] == "shallow"
    assert measured["mobilenet_v2"] > 0.8
    assert measured["deep"] > measured["shallow"] + 0.1


def test_real_networks_on_real_photos(shared_data, tmp_path):
    """ImageNet is nearer to vehicles than iNaturalist's birds are, and heads say the same."""
    store = Store(tmp_path / "state")
    for name, labels in (("mobilenet_v1_0.25_128", "imagenet"), ("mobilenet_v2_1.0_224_inat_bird", "inat_bird")):
        model = (shared_data / "models" / f"{name}_quant.tflite").read_bytes()
        install(store, model, read_labels(shared_data / "models" / f"{labels}_labels.txt"), name=name, origin=name)
    kinds = {
        "aircraft": {404, 405, 417, 895},
        "bicycles": {444, 665, 670, 671, 880},
        "boats": {472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 833, 871, 914},
        "cars": {407, 436, 468, 511, 609, 627, 656, 661, 717, 751, 779, 817},
        "trains": {466, 547, 565, 705, 820, 829, 874},
    }
    album = tmp_path / "album"
    with (shared_data / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for kind in (kind for kind, classes in kinds.items() if int(row["class_index"]) in classes):
                photo = shared_data / "imagenet" / row["file"]
                (album / kind).mkdir(parents=True, exist_ok=True)
                (album / kind / photo.name).symlink_to(photo.resolve())
    with ranker(store, album) as one:
        estimated, measured = one.estimate(), one.measure()
    assert estimated.best.name == "mobilenet_v2"
    accuracies = {standing.bundle.name: standing.measured.accuracy for standing in measured.standings}
    assert accuracies["mobilenet_v2"] > accuracies["mobilenet_v2_1.0_224_inat_bird"]
    divergences = {standing.source.dataset: standing.divergence for standing in estimated.standings}
    assert divergences["ImageNet"] < divergences["iNaturalist 2017 birds"]
    warned = {standing.bundle.name: standing.warning for standing in estimated.standings}
    assert warned["mobilenet_v2_1.0_224_inat_bird"] == "likely worse than the current mobilenet_v2"


def test_measured_and_evident_are_told_in_their_order(two, tmp_path):
    store, bundles = two
    with ranker(store, make_album(tmp_path / "album", 20), bundles) as one:
        measured, evident = one.measure(), one.evidence()
    for ranking in (measured, evident):
        first, second = ranking.standings
        assert (first.bundle.name, second.bundle.name) == ("deep", "a_shallow")
        assert all(0 < standing.seconds < ranking.seconds for standing in ranking.standings)
        assert 0 < ranking.images == len(measured.standings[0].measured.correct)
    first, second = (f"{standing.measured.accuracy:.1%}" for standing in measured.standings)
    assert f"; {first} right by cross-validation, then a_shallow {second}; without transfer" in measured.reason
    assert first != second
    assert f"without transfer {measured.baseline:.1%}" in measured.reason
    first, second = (f"{standing.score:.3f}" for standing in evident.standings)
    assert float(first) > float(second)
    assert evident.reason.endswith(f"log evidence {first} per image, then a_shallow {second}")


def test_labels_that_nobody_can_tell_are_named_no_better_than_by_the_most_frequent_one(two, tmp_path):
    store, bundles = two
    drawn, album, told = make_album(tmp_path / "drawn", 32, LABELS[:1]), tmp_path / "album", []
    for number, picture in enumerate(sorted(drawn.rglob("*.jpg"))):
        label = album / ("often" if number % 4 else "rarely")
        label.mkdir(parents=True, exist_ok=True)
        picture.rename(label / picture.name)
    with ranker(store, album, bundles, tell=lambda *progress: told.append(progress)) as one:
        ranking = one.measure()
        judged = [image.label for image in one._images]
    assert ranking.baseline == judged.count("often") / len(judged) > 0.5
    useless = [one for one in ranking.standings if one.measured.accuracy <= ranking.baseline]
    assert useless
    assert all("negative transfer" in one.warning for one in useless)
    assert {name for name, _, _ in told} == {"a_shallow", "deep"}
    assert all(0 <= done <= of == len(judged) for _, done, of in told)


def test_the_seed_is_the_folds_and_0_where_none_is_given(two, tmp_path, monkeypatch):
    store, bundles = two
    with ranker(store, make_album(tmp_path / "album", 12), bundles) as one:
        for way in (one.measure, one.race):
            unsaid, nought, other = (
                {place.bundle.name: place.measured for place in way(*seed).standings} for seed in ((), (0,), (1,))
            )
            assert np.array_equal(unsaid["deep"].likelihood, nought["deep"].likelihood)
            assert not np.array_equal(unsaid["deep"].likelihood, other["deep"].likelihood)
            monkeypatch.setattr("edged.lab.sources.ranker.FEW", 10)  # a race, the second time


@pytest.mark.parametrize("few", [10, 1000])
def test_an_image_that_cannot_be_read_is_not_counted(two, tmp_path, monkeypatch, few):
    store, bundles = two
    album = make_album(tmp_path / "album", 12)
    monkeypatch.setattr("edged.lab.sources.ranker.FEW", few)
    with ranker(store, album, bundles) as one:
        there = len(one._images)
        groups = [image.group_id for image in one._images]
        one._images[stratified_order(one._labels(one._images), groups, 0)[0]].path.unlink()
        ranking = one.race()
    assert ranking.way == ("race" if few == 10 else "exact")
    assert ranking.images == there - 1
    assert all(len(standing.measured.correct) <= there - 1 for standing in ranking.standings)


def test_of_one_network_within_the_limits_nothing_is_measured(two, tmp_path):
    store, bundles = two
    bundles = [*bundles, store.find("mobilenet_v2")]
    costs = {one.name: footprint.measure(one, runtime="auto", threads=1).memory_mb for one in bundles}
    *others, largest = sorted(costs.values())
    assert largest == costs["mobilenet_v2"] > 1.2 * others[-1]
    limits = Limits(memory_mb=(largest + others[-1]) / 2)
    with ranker(store, make_album(tmp_path / "album", 12), [bundles[1], bundles[2]], limits) as one:
        for way in (one.race, one.measure, one.evidence, one.estimate):
            ranking = way()
            assert (ranking.way, ranking.best.name, ranking.images) == ("limits", "deep", 0)
            assert ranking.reason == "the only one within the limits; 1 network over the limits"
            assert [standing.bundle.name for standing in ranking.standings] == ["deep", "mobilenet_v2"]


def test_what_costs_too_much_stands_behind_the_others_and_says_by_how_much(two, tmp_path, monkeypatch):
    """By costs that are given: which of them a machine measures is its own affair."""
    store, bundles = two
    bundles = [*bundles, store.find("mobilenet_v2")]
    costs = {"a_shallow": Footprint(1.0, 30.0), "deep": Footprint(5.0, 10.0), "mobilenet_v2": Footprint(9.0, 20.0)}
    asked = set()

    def measure(bundle, *, runtime, threads):
        asked.add((runtime, threads))
        return costs[bundle.name]

    monkeypatch.setattr(footprint, "measure", measure)
    album = make_album(tmp_path / "album", 6)
    with ranker(store, album, bundles, Limits(within_ms=4, threads=3)) as one:
        for way in (one.race, one.measure, one.evidence, one.estimate):
            ranking = way()
            assert (ranking.way, ranking.images, ranking.best.name) == ("limits", 0, "a_shallow")
            assert ranking.reason == "the only one within the limits; 2 networks over the limits"
            assert [(each.bundle.name, each.footprint, each.warning) for each in ranking.standings] == [
                ("a_shallow", costs["a_shallow"], None),
                ("deep", costs["deep"], "takes 5.0 ms a frame, more than 4"),
                ("mobilenet_v2", costs["mobilenet_v2"], "takes 9.0 ms a frame, more than 4"),
            ]
            assert 0 <= ranking.seconds < 3600
    assert asked == {("auto", 3)}
    with ranker(store, album, bundles, Limits(within_ms=6)) as one:
        ranking = one.evidence()
    assert ranking.standings[-1].bundle.name == "mobilenet_v2"
    assert all(each.footprint == costs[each.bundle.name] for each in ranking.standings)
    assert ranking.reason.endswith("; 1 network over the limits")
    with ranker(store, album, bundles, Limits(within_ms=9, memory_mb=30)) as one:
        assert "over the limits" not in one.evidence().reason
    told = "none of the 3 .*: a_shallow, the fastest, takes 1.0 ms a frame; deep, the smallest, takes 10 MB"
    with (
        pytest.raises(UnaffordableError, match=told),
        ranker(store, album, bundles, Limits(within_ms=0.5)),
    ):
        pass


def test_the_sides_that_are_asked_for_are_looked_at(two, tmp_path):
    store, bundles = two
    album, told = make_album(tmp_path / "album", 12), []
    with ranker(store, album, bundles) as one:
        usual = {image.split for image in one._images}
    with ranker(store, album, bundles, splits=("test",)) as one:
        assert ({image.split for image in one._images}, usual) == ({"test"}, {"train", "validation"})
        ranking = one.measure(0, told.append)
        assert ranking.images == len(one._images)
    assert told == [0.5, 1.0]
    assert all(0 < each.seconds < ranking.seconds < 3600 for each in ranking.standings)


def test_estimates_are_ranked_by_their_score(store, shared_data, tmp_path):
    model = (shared_data / "models" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    labels = read_labels(shared_data / "models" / "imagenet_labels.txt")
    install(store, model, labels, name="a_worse_one", origin="a_worse_one")
    with ranker(store, make_album(tmp_path / "album", 8)) as one:
        standings = one.estimate().standings
    assert [standing.bundle.name for standing in standings] == ["mobilenet_v2", "a_worse_one", "other"]
    assert standings[0].score > standings[1].score


def test_a_race_opens_each_network_once_a_thread_however_many_rounds_it_has(two, tmp_path, monkeypatch):
    store, bundles = two
    opened = []
    network = Backbone.network

    def counted(backbone):
        opened.append(backbone.bundle.name)
        return network(backbone)

    monkeypatch.setattr(Backbone, "network", counted)
    monkeypatch.setattr("edged.lab.sources.ranker.FEW", 10)
    with ranker(store, make_album(tmp_path / "album", 30), bundles) as one:
        ranking = one.race()
    assert ranking.rounds >= 1
    assert sorted(opened) == ["a_shallow", "deep"], "the first look, the warm-up and the rounds share one"
