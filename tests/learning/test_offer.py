"""A model that was made elsewhere, judged by a device's own images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import TrainingReport
from edged.errors import RefusedError
from edged.images import ImageStore
from edged.learning import JudgeRequest
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks
from edged.learning.export import export, new_manifest, write_bundle
from edged.learning.offer import judge
from edged.learning.pipeline import train as retrain
from edged.learning.pooled import Pooled, pool, train
from edged.learning.sharing import shared_of
from edged.learning.softmax_regression import Fitted
from edged.store import Bundle, read_bundle
from tests.albums import LABELS, make_album
from tests.learning.conftest import SHIPPED, request_for

HOW = Hyperparameters(batch=16, min_accuracy=0.4)
BACKBONE = Backbone.of(read_bundle(SHIPPED), "auto")


def quiet(*_: Any) -> None:
    pass


class Device:
    """A device's images, and models that are offered to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_album(folder / "images", 10)
        store = ImageStore(folder, images_max_mb=100)
        store.scan()
        self.images = store.labeled()
        complete(store, self.images, lambda _: ("plain",), BACKBONE, workers=2, tell=quiet)
        self.bottlenecks = KeptBottlenecks(store, BACKBONE).array(self.images)
        self.hashes = store.hashes()
        store.close()

    def pooled(self, **changes: Any) -> Pooled:
        """Train on the device's images, with their labels changed perhaps."""
        shared = replace(shared_of(self.images, self.bottlenecks, self.hashes, BACKBONE), **changes)
        return train(pool({"here": shared}), BACKBONE, HOW, "run", quiet)

    def keep(self, made: Pooled, name: str) -> Bundle:
        """Write a model and its judges."""
        bundle = write_bundle(self.folder / "offers" / name, made.model, made.labels, made.manifest, None)
        (bundle.path / "judges.bin").write_bytes(made.judges.encode())
        return bundle

    def asks(self, bundle: Bundle, current: Path = SHIPPED, **more: Any) -> JudgeRequest:
        """Offer a model with its judges."""
        request = JudgeRequest(
            self.folder, bundle.path, current, hyperparameters=HOW, workers=2, judges=bundle.path / "judges.bin"
        )
        return replace(request, **more)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return Device(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def good(device: Device) -> Bundle:
    return device.keep(device.pooled(), "good")


@pytest.fixture(scope="module")
def bad(device: Device) -> Bundle:
    """A model that was taught two of the labels the wrong way round."""
    shared = shared_of(device.images, device.bottlenecks, device.hashes, BACKBONE)
    return device.keep(device.pooled(label_of=np.array([1, 0, 2])[shared.label_of]), "bad")


@pytest.fixture(scope="module")
def worse(device: Device) -> Bundle:
    """A model that was taught half of the images of one label as those of another."""
    label_of = shared_of(device.images, device.bottlenecks, device.hashes, BACKBONE).label_of.copy()
    label_of[np.flatnonzero(label_of == 1)[::2]] = 0
    return device.keep(device.pooled(label_of=label_of), "worse")


def test_a_model_that_knows_the_images_answers_and_one_that_does_not_is_refused(
    device: Device, good: Bundle, bad: Bundle
) -> None:
    told = judge(device.asks(good), quiet)
    assert (told.decision.verdict, told.decision.promote, told.images) == ("promoted", True, 30)
    assert told.accuracy is not None
    assert told.accuracy > 0.6
    assert told.answers is False  # whether it answers is the daemon's to say
    told = judge(device.asks(bad), quiet)
    assert told.decision.verdict == "refused"
    assert "min_accuracy" in (told.decision.reason or "")


def test_it_is_compared_with_the_model_that_answers(device: Device, good: Bundle, worse: Bundle) -> None:
    # Both were learned together, and both have heads that judge for them: every image judges both.
    told = judge(device.asks(worse, current=good.path, current_judges=good.path / "judges.bin"), quiet)
    assert (told.decision.images, told.decision.against, told.decision.promote) == (30, good.id, False)
    assert told.accuracy is not None
    assert told.previous is not None
    assert told.accuracy < told.previous
    told = judge(device.asks(good, current=good.path), quiet)
    assert "byte for byte" in (told.decision.reason or "")
    # Without them only the test side can judge the model that answers: its file has seen all else.
    test = sum(image.split == "test" for image in device.images)
    assert judge(device.asks(good, current=worse.path), quiet).decision.images == test
    alone = judge(device.asks(worse, current=good.path, judges=None), quiet)
    assert (alone.images, alone.decision.images) == (test, test)
    assert alone.decision.verdict != "promoted"


def test_what_the_device_has_trained_itself_is_made_again_for_the_comparison(
    device: Device, good: Bundle, worse: Bundle
) -> None:
    own = retrain(replace(request_for(device.folder, images=10, batch=16), out=device.folder / "own"), quiet)
    assert own.bundle is not None
    assert read_bundle(own.bundle).id == good.id  # of the same images `edged retrain` makes the same file
    told = judge(device.asks(worse, current=own.bundle), quiet)
    assert told.decision.made_again is True
    assert (told.decision.images, told.decision.promote) == (30, False)


def test_who_has_nothing_to_judge_by_takes_it_if_others_have(tmp_path: Path, good: Bundle) -> None:
    request = JudgeRequest(tmp_path, good.path, SHIPPED, judges=good.path / "judges.bin")
    told = judge(request, quiet)
    assert (told.decision.verdict, told.decision.promote, told.images) == ("undecided", False, 0)
    told = judge(replace(request, untested=True), quiet)
    assert (told.decision.verdict, told.decision.promote) == ("promoted", True)


def test_a_label_that_would_be_forgotten_is_named(device: Device, good: Bundle) -> None:
    two = device.keep(device.pooled(label_of=np.array([0, 1, 0])[
        [LABELS.index(image.label) for image in device.images]
    ]), "two")  # fmt: skip
    assert two.labels == LABELS[:2]
    told = judge(device.asks(two, current=good.path), quiet)
    assert told.decision.verdict == "refused"
    assert "does not know stripes" in (told.decision.reason or "")


def test_judges_of_another_model_are_refused(device: Device, good: Bundle, tmp_path: Path) -> None:
    (tmp_path / "judges.bin").write_bytes(b"\0" * 100)
    with pytest.raises(RefusedError, match="do not fit a model of 3 labels"):
        judge(device.asks(good, judges=tmp_path / "judges.bin"), quiet)


def test_the_same_answer_for_every_image_is_refused(device: Device) -> None:
    """The constant answer is right on a third of the images, and no model."""
    made = device.pooled()

    width = BACKBONE.features
    head = Fitted(np.zeros((3, width), np.float32), np.array([5, 0, 0], np.float32), (), 1, "epochs")
    model = export(BACKBONE.model, head, device.bottlenecks)
    constant = write_bundle(
        device.folder / "offers" / "constant", model, made.labels, new_manifest(model, BACKBONE, TrainingReport()), None
    )
    low = HOW.model_copy(update={"min_accuracy": 0.0})
    told = judge(device.asks(constant, judges=None, hyperparameters=low), quiet)
    assert told.decision.verdict == "refused"
    assert "no better than the same answer" in (told.decision.reason or "")
