"""A model beside the one that answers, on a device's own test images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edged.contract.reports import SideBySide
from edged.images import ImageStore
from edged.learning import ComparisonRequest, Progress, gate
from edged.learning.side_by_side import FEWEST, compare
from edged.plural import counted
from edged.store import Store, read_bundle
from edged.vision.flatbuffer import pack, unpack
from tests.albums import LABELS, make_album
from tests.heads import headed

SWAPPED = ("discs", "checks", "stripes")


def quiet(_: object) -> None:
    pass


class Device:
    """Labeled images, and models that are installed beside them."""

    def __init__(self, folder: Path, images: int = 15) -> None:
        self.folder = folder
        self.store = Store(folder)
        make_album(folder / "images", images)

    def put(self, model: bytes, labels: tuple[str, ...] = LABELS, like: Path | None = None) -> Path:
        """Install a model, which says perhaps that its network is another one's."""
        name = hashlib.sha256(model + repr(labels).encode()).hexdigest()[:8]
        lineage = {} if like is None else {"backbone_sha256": read_bundle(like).manifest.sha256}
        return self.store.add(model, labels, name=name, width=224, height=224, lineage=lineage, replace=True).path

    def compare(
        self, new: Path, current: Path, tell: Callable[[Progress], None] = quiet, workers: int = 2
    ) -> SideBySide:
        return compare(ComparisonRequest(self.folder, new, current, workers=workers), tell)

    def test_images(self) -> list[str]:
        """Labels of the images of the test side."""
        store = ImageStore(self.folder, images_max_mb=100)
        store.scan()
        labels = [image.label for image in store.labeled() if image.split == "test"]
        store.close()
        return labels


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return Device(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def good(device: Device) -> Path:
    return device.put(headed())


def test_a_worse_model_is_told_from_an_equal_one(device: Device, good: Path) -> None:
    test, shares = device.test_images(), []
    told = device.compare(device.put(headed(SWAPPED)), good, lambda progress: shares.append(progress.fraction))
    right = sum(label == "stripes" for label in test) / len(test)
    assert (told.images, told.previous, told.accuracy) == (len(test), 1.0, pytest.approx(right, abs=1e-4))
    assert (told.beyond_chance, told.why, told.unknown) == (True, None, ())
    assert shares == sorted(shares), "it never goes back"
    assert shares[-1] == 1.0
    again = device.compare(good, good)
    assert (again.accuracy, again.previous, again.beyond_chance, again.against) == (1.0, 1.0, False, again.model)
    better = device.compare(good, device.put(headed(SWAPPED)))
    assert (better.accuracy, better.previous, better.beyond_chance) == (1.0, told.accuracy, True)


def test_labels_that_one_of_them_does_not_know(device: Device, good: Path) -> None:
    test = device.test_images()
    lost = device.compare(device.put(headed(), ("checks", "discs", "wood")), good)
    assert (lost.unknown, lost.previous) == (("stripes",), 1.0)
    assert lost.accuracy == pytest.approx(sum(label != "stripes" for label in test) / len(test), abs=1e-4)
    # What only the new one knows judges neither: its images would hide how it names the others.
    older = device.put(headed(SWAPPED), ("checks", "discs", "wood"))
    learned = device.compare(good, older)
    assert learned.images == sum(label != "stripes" for label in test)
    assert (learned.accuracy, learned.previous) == (1.0, 0.0)


def test_a_label_that_has_another_name_now_is_the_same_label(tmp_path: Path) -> None:
    device = Device(tmp_path)
    store = ImageStore(tmp_path, images_max_mb=100)
    store.scan()
    taught: dict[str, list[str]] = {}
    for image in store.labeled():
        taught.setdefault("circles" if image.label == "discs" else image.label, []).append(image.id)
    store.close()
    old = device.put(headed(), ("checks", "circles", "stripes"))
    (old / "taught.json").write_text(json.dumps(taught))
    told = device.compare(device.put(headed()), old)
    assert (told.images, told.previous, told.unknown) == (len(device.test_images()), 1.0, ())


def test_what_is_not_judged_is_said(device: Device, good: Path, tmp_path: Path) -> None:
    other = device.put(headed(), ("wood", "metal", "glass"))
    number = len(device.test_images())
    for new, current, why in (
        (other, good, f"the new model knows no label of the {number} test images"),
        (good, other, f"the model that answers knows no label of the {number} test images"),
    ):
        told = device.compare(new, current)
        assert (told.why, told.accuracy, told.previous, told.beyond_chance) == (why, None, None, None)
    empty = Device(tmp_path / "empty", images=0)
    assert empty.compare(good, good).why == "no labeled image of the test side"
    few = Device(tmp_path / "few", images=2)
    assert 0 < len(few.test_images()) < FEWEST
    assert few.compare(good, good).why == f"{counted(len(few.test_images()), 'test image')}, too few to tell"


def test_an_image_that_only_one_of_them_could_read_judges_neither(tmp_path: Path) -> None:
    device = Device(tmp_path)
    number = len(device.test_images())
    store = ImageStore(tmp_path, images_max_mb=100)
    path = min((image for image in store.labeled() if image.split == "test"), key=lambda image: image.sha256).path
    store.close()

    def tell(progress: Progress) -> None:
        if progress.stage == "comparison":  # the first image has gone through the first file
            path.unlink(missing_ok=True)

    model = device.put(headed())
    told = device.compare(model, model, tell, workers=1)
    assert (told.images, told.accuracy) == (number - 1, 1.0)


def test_a_network_that_was_damaged_is_found_whatever_its_manifest_says(device: Device, good: Path) -> None:
    """Bottlenecks that the device keeps of the network that it names would hide it."""
    model = unpack(headed())
    graph = model.subgraphs[0]
    kernel = graph.tensors[graph.operators[1].inputs[1]]
    model.buffers[kernel.buffer].data = np.zeros_like(model.buffers[kernel.buffer].data)
    new = device.put(pack(model), like=good)
    assert read_bundle(new).manifest.backbone_sha256 == read_bundle(good).manifest.sha256
    told = device.compare(new, good)
    assert told.accuracy is not None
    assert told.accuracy < 0.7


def test_fewer_images_than_the_fewest_tell_nothing() -> None:
    def lost(images: int) -> bool:
        groups = [str(number) for number in range(images)]
        return gate.beyond_chance(gate.estimate(-np.ones(images), groups))

    assert [lost(FEWEST - 1), lost(FEWEST)] == [False, True]
