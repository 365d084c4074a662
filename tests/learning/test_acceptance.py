"""A new model beside the one that answers now, judged on drawn pictures and the network that ships."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.images import open_images
from edged.learning.acceptance import Acceptance, Candidate, CrossValidation, cross_validate, judge
from edged.learning.bottlenecks import Backbone
from edged.learning.comparison import FOLDS, Divisions, Taught, predict_left_out, share_right
from edged.learning.dataset import Examples, Selection, select
from edged.learning.incumbent import Incumbent
from edged.learning.recipe import Recipe
from edged.store import Bundle, read_bundle
from tests.albums import make_album
from tests.learning.conftest import SHIPPED
from tests.learning.test_incumbent import Device, quiet, without


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """20 pictures of each label, half of them drawn at random: how often they are guessed says who judged whom."""
    store = open_images(tmp_path / "state", make_album(tmp_path / "album", 20), 100.0)
    store.scan(settle_s=0)
    found = Device(store, tmp_path)
    # Half of them are right: else chance, and so the processor, would say whether a head is better than none.
    labels, dice = np.array([image.label for image in found.selection.images]), np.random.default_rng(0)
    wrong = dice.choice(len(labels), len(labels) // 2, replace=False)
    labels[wrong] = dice.permutation(labels[wrong])
    images = (replace(image, label=str(label)) for image, label in zip(found.selection.images, labels, strict=True))
    found.selection = replace(found.selection, images=tuple(images))
    yield found
    store.close()


@dataclass(frozen=True)
class New:
    """A new model of all images, whose file and head are right on the whole test side."""

    device: Device
    selection: Selection
    backbone: Backbone
    recipe: Recipe
    model: bytes = b"new"
    turned: tuple[int, int] = (0, 0)
    """By how many labels the file and the head are wrong."""

    def crossed(self, old: Incumbent | None, tell: Callable[[int, int], None] = quiet) -> CrossValidation:
        kept = self.device.kept
        return cross_validate(kept, self.selection, self.backbone, self.recipe, old, workers=1, tell=tell)

    @property
    def test(self) -> Examples:
        return self.device.kept.examples(self.selection, "test", augment=False)

    def answers(self, which: int) -> np.ndarray[Any, Any]:
        right = np.eye(len(self.selection.labels), dtype=np.float32)[self.test.labels]
        return np.roll(right, self.turned[which], axis=1)

    def candidate(self, crossed: CrossValidation) -> Candidate:
        return Candidate(self.model, crossed, self.test, self.answers(0), self.answers(1))


def candidate(device: Device, *, selection: Selection | None = None, **changes: Any) -> New:
    recipe = Recipe(Hyperparameters(batch=16), 10)
    return replace(New(device, selection or device.selection, device.backbone, recipe), **changes)


def incumbent(device: Device, current: Bundle, selection: Selection | None = None) -> Incumbent:
    own = selection or device.selection
    return Incumbent(current, own, own.images, device.store, device.backbone, device.kept)


def judged(new: New, old: Incumbent | None, *, tell: Callable[[int, int], None] = quiet, **how: Any) -> Acceptance:
    limits = Hyperparameters(**{"min_accuracy": 0.0, **how})
    return judge(new.candidate(new.crossed(old, tell)), old, limits)


def guessed(new: New, divisions: Divisions) -> float:
    """How often heads of the new model's recipe guess the labels of images that they were not made of."""
    selection, augment = new.selection, new.recipe.hyperparameters.augment
    labels = np.array([selection.labels.index(image.label) for image in selection.images])
    features = new.device.kept.in_views(selection.images, augment=augment)
    taught = Taught(features, labels, len(selection.labels), new.backbone.affine, new.recipe)
    found = predict_left_out(taught, [image.group_id for image in selection.images], divisions)
    return float(np.nanmean(share_right(found.free, labels)))


def test_without_a_current_model_every_image_judges_once(device: Device) -> None:
    new = candidate(device)
    accepted = judged(new, None)
    assert accepted.accuracy == pytest.approx(guessed(new, Divisions(1, FOLDS)))
    assert (accepted.against, accepted.previous, accepted.made_again, accepted.renamed) == (None, None, None, ())


def test_both_models_are_judged_by_as_many_divisions_as_the_images_need(device: Device) -> None:
    new, current = candidate(device), device.model(device.selection)
    accepted = judged(new, incumbent(device, current))
    assert accepted.accuracy == pytest.approx(guessed(new, Divisions(4, FOLDS)))
    assert (accepted.against, accepted.made_again) == (current.id, True)
    assert accepted.previous == accepted.verdict.previous
    assert accepted.previous is not None
    varied = replace(new, recipe=Recipe(Hyperparameters(batch=16, augment=True), 10))
    views = device.kept.in_views(device.selection.images, augment=True).shape[1]
    assert Divisions.for_images(60, views) not in {Divisions(4, FOLDS), Divisions(1, FOLDS)}
    assert judged(varied, incumbent(device, current)).accuracy == pytest.approx(
        guessed(varied, Divisions.for_images(60, views))
    )


def test_the_temperature_does_not_depend_on_what_answers_now(device: Device) -> None:
    """Else the same images would make another file once their model is promoted."""
    new = candidate(device)
    alone, beside = new.crossed(None), new.crossed(incumbent(device, device.model(device.selection)))
    assert (alone.predictions.free.shape[0], beside.predictions.free.shape[0]) == (1, 4)
    assert alone.old is None
    assert beside.old is not None
    assert alone.calibration() == beside.calibration() is not None


def test_on_a_network_that_has_seen_the_images_the_test_side_alone_judges(device: Device) -> None:
    bundle = device.backbone.bundle
    tuned = replace(bundle, manifest=bundle.manifest.model_copy(update={"tuned": True}))
    new = candidate(device, backbone=replace(device.backbone, bundle=tuned))
    accepted = judged(new, None)
    assert accepted.accuracy == pytest.approx(guessed(new, Divisions(1, 1)))


def test_the_file_must_not_do_worse_than_its_head_nor_than_the_one_that_answers(device: Device) -> None:
    learnable = select(device.store.labeled())
    new, old = candidate(device, selection=learnable), incumbent(device, device.model(learnable), learnable)
    lost = judged(replace(new, turned=(1, 0)), None).verdict
    assert (lost.verdict, "its head before quantization" in lost.reason) == ("refused", True)
    both = replace(new, turned=(1, 1))
    against = old.test_side(both.answers(0), both.test.images)
    assert (against.old & ~against.new).sum() >= 5, "the example must lose more than chance explains"
    worse = judged(both, old).verdict
    assert (worse.verdict, "the current one" in worse.reason) == ("refused", True)
    assert judged(both, None).verdict.verdict == "promoted"


def test_the_model_that_answers_now_is_known_by_its_file(device: Device) -> None:
    current = device.model(device.selection)
    again = candidate(device, model=current.read_model())
    assert "byte for byte" in judged(again, incumbent(device, current)).verdict.reason
    assert "byte for byte" not in judged(candidate(device), incumbent(device, current)).verdict.reason


def test_a_model_of_other_labels_is_named_and_not_compared(device: Device) -> None:
    accepted = judged(candidate(device), incumbent(device, read_bundle(SHIPPED)))
    assert (accepted.against, accepted.previous, accepted.made_again) == (read_bundle(SHIPPED).id, None, None)
    assert accepted.verdict.difference is None


def test_what_the_current_model_needs_is_computed_first(device: Device) -> None:
    current = device.model(device.selection)
    shape = current.manifest.input.model_copy(update={"crop": 0.6})
    cropped = replace(current, manifest=current.manifest.model_copy(update={"input": shape}))
    told: list[tuple[int, int]] = []
    accepted = judged(candidate(device), incumbent(device, cropped), tell=lambda done, of: told.append((done, of)))
    assert told[0] == (0, 60)
    assert accepted.verdict.difference is not None
    assert accepted.verdict.difference.images == 60


def test_the_limits_are_those_of_the_request(device: Device) -> None:
    learnable = select(device.store.labeled())
    new, old = candidate(device, selection=learnable), incumbent(device, device.model(learnable), learnable)
    few = judged(new, old).verdict
    assert few.verdict == "undecided"
    assert judged(new, old, tolerance=0.5).verdict.verdict == "promoted"
    strict = judged(candidate(device), None, min_accuracy=0.9)
    assert "min_accuracy 90.0%" in strict.verdict.reason


def test_a_new_label_is_judged_on_those_that_both_know(device: Device) -> None:
    known = without(device.selection, device.selection.labels[0])
    accepted = judged(candidate(device), incumbent(device, device.model(known)))
    assert accepted.verdict.difference is not None
    assert accepted.verdict.difference.images == len(known.images)
