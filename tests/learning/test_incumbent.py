"""The model that answers now, beside a new one, on drawn pictures and the network that ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import HeadTraining, TrainingReport
from edged.images import ImageStore, open_images
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import FOLDS, Divisions, LeftOut, Predictions, Taught, made_of
from edged.learning.dataset import KeptBottlenecks, Selection, select
from edged.learning.export import export, new_manifest, write_bundle
from edged.learning.incumbent import Incumbent, earlier_points, recipe_of, renamed_labels
from edged.learning.learning_curve import CurvePoint
from edged.learning.recipe import make_head
from edged.store import Bundle, Store, read_bundle
from edged.zoo.install import install
from tests.albums import LABELS, make_album
from tests.learning.conftest import SHIPPED
from tests.networks import Kind, make

ALL = Divisions(1, FOLDS)


class Device:
    """20 pictures of each label with their bottlenecks, and models that were made of some of them."""

    def __init__(self, store: ImageStore, folder: Path, network: Path = SHIPPED) -> None:
        self.store, self.folder = store, folder
        self.backbone = Backbone.of(read_bundle(network), "auto")
        self.selection = select(store.labeled())
        complete(store, self.selection.images, lambda _: ("plain",), self.backbone, workers=1, tell=quiet)
        self.kept = KeptBottlenecks(store, self.backbone)

    def model(self, selection: Selection, *, known: bool = True, **changes: Any) -> Bundle:
        """Train a model of the images of a selection; `known`: the bundle says which they were."""
        splits = self.kept.splits(selection, augment=False)
        made = make_head(
            (splits.train.features, splits.train.labels),
            (splits.validation.features, splits.validation.labels),
            classes=len(selection.labels),
            affine=self.backbone.affine,
            hyperparameters=Hyperparameters(batch=16),
        )
        model = export(self.backbone.model, made.head, *splits.features)
        report = TrainingReport(
            hyperparameters=Hyperparameters(batch=16).model_dump(),
            training=HeadTraining(best_epoch=made.recipe.epochs, cuts=made.recipe.cuts),
        )
        manifest = new_manifest(model, self.backbone, report).model_copy(update=changes)
        taught = {image.id: image.label for image in selection.images} if known else None
        return write_bundle(self.folder / "model", model, selection.labels, manifest, taught)

    def incumbent(self, current: Bundle, selection: Selection | None = None) -> Incumbent:
        own = self.selection if selection is None else selection
        return Incumbent(current, own, self.store.labeled(), self.store, self.backbone, self.kept)


def quiet(done: int, of: int) -> None:
    pass


def always(selection: Selection, output: int) -> Predictions:
    """The new model's answers, always the same."""
    answers = np.full((1, len(selection.images)), output, np.int16)
    return Predictions(answers, answers)


def without(selection: Selection, *labels: str) -> Selection:
    images = tuple(image for image in selection.images if image.label not in labels)
    return replace(selection, images=images, labels=tuple(sorted({image.label for image in images})))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    store = open_images(tmp_path / "state", make_album(tmp_path / "album", 20), 100.0)
    store.scan(settle_s=0)
    yield Device(store, tmp_path)
    store.close()


def test_a_model_is_made_again_without_the_images_that_it_judges(device: Device) -> None:
    current = device.model(device.selection)
    assert current.read_taught() == {image.id: image.label for image in device.selection.images}
    incumbent = device.incumbent(current)
    assert (incumbent.made_again, incumbent.comparable, incumbent.outputs) == (True, True, (0, 1, 2))
    compared = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == len(device.selection.images)
    assert 0.75 < compared.old.mean() <= 1
    assert compared.new.mean() == pytest.approx(1 / 3)
    assert compared.names == LABELS


def keep_answers(device: Device, current: Bundle, answer: int) -> None:
    """Keep beside a model of all images that the heads of its own training have always given the same answer."""
    selection, recipe = device.selection, recipe_of(current)
    assert recipe is not None
    labels = np.array([selection.labels.index(image.label) for image in selection.images])
    taught = Taught(device.kept.array(selection.images), labels, 3, device.backbone.affine, recipe)
    hashed = made_of(taught, [image.group_id for image in selection.images])
    kept = LeftOut(hashed, FOLDS, np.full((1, len(labels)), answer, np.int16))
    (current.path / "left_out.json").write_bytes(kept.encode())


def test_a_model_whose_answers_were_kept_is_not_made_again(device: Device) -> None:
    current = device.model(device.selection)
    keep_answers(device, current, 1)
    incumbent = device.incumbent(current)
    assert (incumbent.predict(ALL).free == 1).all()
    assert (incumbent.predict(ALL).bound == 1).all()
    assert len(set(incumbent.predict(Divisions(2, FOLDS)).free.ravel())) == 3, "one division alone was kept"
    fewer = device.incumbent(current, without(device.selection, LABELS[2]))
    assert set(fewer.predict(ALL).bound.ravel()) == {0, 1}, "what it prefers among two labels was not kept"
    # Images that have another label now do not change what it was made of.
    changed = tuple(replace(image, label=LABELS[0]) for image in device.selection.images)
    relabeled = replace(device.selection, images=changed[:7] + device.selection.images[7:])
    again = Incumbent(current, relabeled, relabeled.images, device.store, device.backbone, device.kept)
    assert (again.predict(ALL).free == 1).all()
    # One that is gone does.
    rest = replace(device.selection, images=device.selection.images[1:])
    lost = Incumbent(current, rest, rest.images, device.store, device.backbone, device.kept)
    assert len(set(lost.predict(ALL).free.ravel())) == 3


def test_the_curve_of_a_model_that_was_made_in_the_same_way_of_some_of_these_images_is_gone_on_with(
    device: Device,
) -> None:
    report = {
        "hyperparameters": Hyperparameters(batch=16).model_dump(),
        "learning_curve": {"points": [{"images": 20, "accuracy": 0.5}, {"images": 40, "accuracy": 0.75}]},
    }
    now, backbone = device.selection, device.backbone
    current = device.model(replace(now, images=now.images[3:]), training=report)
    points = (CurvePoint(20, 0.5), CurvePoint(40, 0.75))
    how = Hyperparameters(batch=16)
    assert earlier_points(current, now, backbone, how) == points
    told = {LABELS[1]: {"recall": [0.25, 0.5]}, LABELS[2]: {"recall": [0.5]}}  # the second is of another curve
    with_classes = report | {"learning_curve": {**report["learning_curve"], "classes": told}}
    knows_one = device.model(replace(now, images=now.images[3:]), training=with_classes)
    assert earlier_points(knows_one, now, backbone, how) == (
        CurvePoint(20, 0.5, recalls=(None, 0.25, None)),
        CurvePoint(40, 0.75, recalls=(None, 0.5, None)),
    )
    assert earlier_points(current, now, backbone, Hyperparameters(batch=16, seed=1)) == ()
    assert earlier_points(current, now, replace(backbone, crop=0.5), how) == ()
    assert earlier_points(current, replace(now, images=now.images[:-1]), backbone, how) == (), "one is gone"
    relabeled = (*now.images[:-1], replace(now.images[-1], label=LABELS[0]))
    assert earlier_points(current, replace(now, images=relabeled), backbone, how) == ()
    assert earlier_points(current, replace(now, labels=LABELS[:2]), backbone, how) == ()
    tuned = replace(current, manifest=current.manifest.model_copy(update={"tuned": True}))
    assert earlier_points(tuned, now, backbone, how) == ()
    assert earlier_points(read_bundle(SHIPPED), now, backbone, how) == ()
    assert earlier_points(device.model(now, known=False, training=report), now, backbone, how) == ()
    nothing = {"points": [{"images": 20, "accuracy": None}]}
    assert earlier_points(device.model(now, training=report | {"learning_curve": nothing}), now, backbone, how) == ()
    assert earlier_points(device.model(now), now, backbone, how) == (), "it tells of none"


def test_images_with_another_label_now_judge_neither(device: Device) -> None:
    taught = {image.id: image.label for image in device.selection.images}
    current = device.model(device.selection)
    moved = sorted(taught)[:7]
    changed = tuple(
        replace(image, label=LABELS[(LABELS.index(image.label) + 1) % 3]) if image.id in moved else image
        for image in device.selection.images
    )
    selection = replace(device.selection, images=changed)
    incumbent = Incumbent(current, selection, changed, device.store, device.backbone, device.kept)
    compared = incumbent.compare(always(selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == len(taught) - len(moved)


def test_new_images_are_fresh_and_removed_ones_are_missed(device: Device) -> None:
    half = replace(device.selection, images=device.selection.images[::2])
    images = tuple(image for number, image in enumerate(device.selection.images) if number % 3)
    current = device.model(replace(device.selection, images=images))
    more = device.incumbent(current)
    assert more.made_again
    compared = more.compare(always(device.selection, 0), more.predict(Divisions(2, FOLDS)))
    taught = {image.group_id for image in images}
    assert compared.fresh.tolist() == [group not in taught for group in compared.groups]
    assert sorted(compared.groups) == sorted(image.group_id for image in device.selection.images)
    assert compared.old[compared.fresh].mean() > 0.7, "its file knows what they show"
    # Most of what it was made of is gone: its file judges what it was not made of.
    current = device.model(device.selection)
    few = Incumbent(current, half, half.images, device.store, device.backbone, device.kept)
    assert not few.made_again
    test = [image for image in half.images if image.split == "test"]
    assert len(few.compare(always(half, 0), few.predict(ALL)).old) == len(test)


@pytest.mark.parametrize(("gone", "made_again"), [(6, True), (7, False)])
def test_a_model_is_made_again_where_nine_tenths_of_its_images_are_still_there(
    device: Device, gone: int, made_again: bool
) -> None:
    current = device.model(device.selection)
    images = device.selection.images[gone:]
    selection = replace(device.selection, images=images)
    incumbent = Incumbent(current, selection, images, device.store, device.backbone, device.kept)
    assert incumbent.made_again is made_again


def test_images_of_a_removed_label_may_be_gone(device: Device) -> None:
    """Whoever no longer wants a label deletes its folder: nothing else is missing that the comparison needs."""
    current = device.model(device.selection)
    selection = without(device.selection, LABELS[1])
    incumbent = Incumbent(current, selection, selection.images, device.store, device.backbone, device.kept)
    assert (incumbent.made_again, incumbent.outputs) == (True, (0, 1))
    compared = incumbent.compare(always(selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == 40, "all that is left judges, not the test side alone"
    assert compared.old.mean() > 0.75
    assert compared.old_free.mean() > 0.75, "the removed label is not named"
    fewer = Incumbent(current, selection, selection.images[5:], device.store, device.backbone, device.kept)
    assert not fewer.made_again, "more than a tenth of the others is gone too"


def test_images_that_one_model_alone_could_judge_count_for_neither(device: Device) -> None:
    """The current model's heads are made for two folds only, so that the others are not judged by it."""
    incumbent = device.incumbent(device.model(device.selection))
    old = incumbent.predict(Divisions(1, 2))
    judged = [image for image, answer in zip(device.selection.images, old.free[0], strict=True) if answer >= 0]
    assert 0 < len(judged) < len(device.selection.images)
    compared = incumbent.compare(always(device.selection, 0), old)
    assert list(compared.groups) == [image.group_id for image in judged]
    assert len(compared.new) == len(compared.old) == len(compared.labels) == len(compared.fresh) == len(judged)
    assert not np.isnan(compared.old).any()


def test_where_no_image_can_judge_a_model_none_does(device: Device) -> None:
    images = tuple(image for image in device.selection.images if image.split == "train")
    incumbent = device.incumbent(device.model(device.selection, known=False), replace(device.selection, images=images))
    nothing = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert (len(nothing.new), len(nothing.groups)) == (0, 0)
    test = incumbent.test_side(np.zeros((0, 3), np.float32), [])
    assert (len(test.new), len(test.old)) == (0, 0)


def test_a_model_with_another_crop_judges_by_bottlenecks_of_its_own(device: Device) -> None:
    current = device.model(device.selection)
    shape = current.manifest.input.model_copy(update={"crop": 0.6})
    cropped = replace(current, manifest=current.manifest.model_copy(update={"input": shape}))
    incumbent = device.incumbent(cropped)
    told: list[tuple[int, int]] = []
    incumbent.complete(workers=1, tell=lambda done, of: told.append((done, of)))
    assert told[0] == (0, 60), "those with the crop of the new model are of no use to it"
    compared = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == 60
    incumbent.complete(workers=1, tell=lambda done, of: told.append((done, of)))
    assert told[-1] == (60, 60)


def test_a_model_on_another_network_judges_by_that_network_s_bottlenecks(device: Device, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    small = make(Kind("", 96, 12, classes=1000, legacy=False, head="FULLY_CONNECTED"))
    bundle = install(Store(tmp_path / "networks"), small.model, small.labels, name="small", origin="")
    other = Device(device.store, tmp_path / "small", bundle.path)
    assert other.backbone.features != device.backbone.features
    incumbent = device.incumbent(other.model(device.selection))
    assert incumbent.made_again
    incumbent.complete(workers=1, tell=quiet)
    compared = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == 60
    assert not compared.fresh.any()
    test = device.selection.of("test")
    assert incumbent.test_side(np.zeros((len(test), 3), np.float32), test).old.mean() > 0.5, "its head fits them alone"


def test_images_that_only_the_old_model_was_made_of_get_bottlenecks_too(device: Device) -> None:
    current = device.model(device.selection)
    shape = current.manifest.input.model_copy(update={"crop": 0.6})
    cropped = replace(current, manifest=current.manifest.model_copy(update={"input": shape}))
    incumbent = device.incumbent(cropped, without(device.selection, LABELS[2]))
    told: list[tuple[int, int]] = []
    incumbent.complete(workers=1, tell=lambda done, of: told.append((done, of)))
    assert told[0] == (0, 60)
    compared = incumbent.compare(always(without(device.selection, LABELS[2]), 0), incumbent.predict(ALL))
    assert len(compared.old) == 40


def test_an_image_that_its_network_cannot_read_judges_nothing(device: Device) -> None:
    current = device.model(device.selection)
    shape = current.manifest.input.model_copy(update={"crop": 0.6})
    broken = device.selection.images[0]
    broken.path.write_bytes(b"no picture")
    incumbent = device.incumbent(replace(current, manifest=current.manifest.model_copy(update={"input": shape})))
    incumbent.complete(workers=1, tell=quiet)
    compared = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert sorted(compared.groups) == sorted(image.group_id for image in device.selection.images[1:])


def test_a_model_from_elsewhere_judges_the_test_side_with_its_file(device: Device) -> None:
    current = device.model(device.selection, known=False)
    assert current.read_taught() is None
    incumbent = device.incumbent(current)
    assert not incumbent.made_again
    compared = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == len(device.selection.of("test"))


def test_only_a_model_that_says_what_it_was_measured_on_is_judged_by_every_image(device: Device) -> None:
    added = device.model(device.selection, known=False)
    bare = replace(added, manifest=added.manifest.model_copy(update={"training": None}))
    measured = replace(
        added, manifest=bare.manifest.model_copy(update={"accuracy": {"quantized": {"top1": 0.8}, "images": 1849}})
    )
    judges = {}
    for name, model in (("bare", bare), ("measured", measured)):
        incumbent = device.incumbent(model)
        judges[name] = len(incumbent.compare(always(device.selection, 0), incumbent.predict(ALL)).old)
    assert judges == {"bare": len(device.selection.of("test")), "measured": len(device.selection.images)}


def test_a_new_label_and_a_removed_one_are_compared_on_what_both_know(device: Device) -> None:
    current = device.model(without(device.selection, LABELS[2]))
    incumbent = device.incumbent(current, without(device.selection, LABELS[0]))
    assert not incumbent.comparable, "one label in common is always right"
    grown = device.incumbent(current)
    assert (grown.comparable, grown.outputs) == (True, (0, 1))
    old = grown.predict(ALL)
    assert set(np.unique(old.bound)) <= {0, 1}
    compared = grown.compare(always(device.selection, 2), old)
    assert len(compared.old) == 40
    assert compared.new_free.mean() == 0, "the new label has taken all images of the others"


def test_nothing_in_common_is_nothing_to_compare(device: Device) -> None:
    incumbent = device.incumbent(read_bundle(SHIPPED))
    assert not incumbent.comparable
    incumbent.complete(workers=1, tell=quiet)


def test_a_renamed_label_is_the_same_one(device: Device) -> None:
    current = device.model(device.selection)
    images = tuple(
        replace(image, label="rings") if image.label == LABELS[0] else image for image in device.selection.images
    )
    labels = tuple(sorted({image.label for image in images}))
    selection = replace(device.selection, images=images, labels=labels)
    incumbent = Incumbent(current, selection, images, device.store, device.backbone, device.kept)
    assert incumbent.renamed == {LABELS[0]: "rings"}
    compared = incumbent.compare(always(selection, 0), incumbent.predict(ALL))
    assert len(compared.old) == 60
    assert compared.old.mean() > 0.75


def test_the_test_side_of_both_files(device: Device) -> None:
    current = device.model(device.selection)
    incumbent = device.incumbent(current)
    test = device.selection.of("test")
    scores = np.zeros((len(test), 3), np.float32)
    scores[:, 1] = 1
    both = incumbent.test_side(scores, test)
    assert both.new.tolist() == [image.label == LABELS[1] for image in test]
    assert both.old.mean() > 0.7


def test_a_network_that_was_tuned_on_the_images_is_judged_by_the_test_side_alone(device: Device) -> None:
    current = device.model(device.selection, tuned=True)
    incumbent = device.incumbent(current)
    assert not incumbent.made_again
    judged = incumbent.compare(always(device.selection, 0), incumbent.predict(ALL))
    assert len(judged.old) == len(device.selection.of("test"))


def test_what_does_not_tell_how_it_was_made_has_no_recipe(device: Device) -> None:
    assert recipe_of(read_bundle(SHIPPED)) is None
    current = device.model(device.selection)
    recipe = recipe_of(current)
    assert recipe is not None
    assert recipe.hyperparameters.batch == 16
    assert recipe.epochs >= 1
    older = {"hyperparameters": {"lr": 0.2, "warmth": 3}, "training": {"epochs": 5, "best_epoch": 4}}
    again = recipe_of(replace(current, manifest=current.manifest.model_copy(update={"training": older})))
    assert again is not None
    assert (again.hyperparameters.lr, again.epochs, again.cuts) == (0.2, 4, ())
    for silent in ({"hyperparameters": {}}, {"hyperparameters": {}, "training": {"epochs": 5}}):
        assert recipe_of(replace(current, manifest=current.manifest.model_copy(update={"training": silent}))) is None


def test_labels_are_renamed_only_where_their_images_say_so() -> None:
    taught = {"1": "rose", "2": "rose", "3": "daisy", "4": "daisy"}
    assert renamed_labels(taught, taught) == {}
    assert renamed_labels(taught, {"1": "roses", "2": "roses", "3": "daisy", "4": "daisy"}) == {"rose": "roses"}
    assert renamed_labels(taught, {"1": "daisy", "2": "daisy", "3": "daisy", "4": "daisy"}) == {}, "merged"
    assert renamed_labels(taught, {"1": "red", "2": "white", "3": "daisy"}) == {}, "divided"
    assert renamed_labels(taught, {"1": "x", "2": "x", "3": "x", "4": "x"}) == {}, "made one"
    assert renamed_labels(taught, {"3": "daisy"}) == {}, "removed"
    ten = dict.fromkeys("0123456789", "rose")
    nearly = dict.fromkeys(ten, "roses") | {"0": "tulip"}
    assert renamed_labels(ten, nearly) == {"rose": "roses"}, "nine tenths"
    assert renamed_labels(ten, nearly | {"1": "tulip"}) == {}
