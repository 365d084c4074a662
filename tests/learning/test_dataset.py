"""Which images take part in a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edged.errors import RefusedError
from edged.images import Embedding, ImageStore, LabeledImage, Split, open_images, variant
from edged.learning.bottlenecks import AUGMENTED, Backbone, complete
from edged.learning.dataset import KeptBottlenecks, Selection, select, views_of
from edged.store import read_bundle
from tests.albums import make_album
from tests.learning.conftest import SHIPPED


def images(label: str, train: int, validation: int = 0, test: int = 0) -> list[LabeledImage]:
    splits: list[Split] = ["train"] * train + ["validation"] * validation + ["test"] * test
    return [
        LabeledImage(f"{label}{n}", f"{label}{n}", f"{label}/{n}.jpg", label, split, f"{label}{n}", 8, 8, 100)
        for n, split in enumerate(splits)
    ]


def test_labels_are_sorted_and_counted() -> None:
    chosen = select([*images("roses", 6, 1, 2), *images("daisy", 5, 1, 1)])
    assert chosen.labels == ("daisy", "roses")
    assert chosen.counts() == {"daisy": 7, "roses": 9}
    assert chosen.split_counts() == {"train": 11, "validation": 2, "test": 3}
    assert [image.label for image in chosen.of("test")] == ["roses", "roses", "daisy"]


def test_five_images_two_of_them_to_train_on_are_enough() -> None:
    chosen = select([*images("a", 2, 2, 1), *images("b", 4, 0, 1), *images("c", 1, 3, 3), *images("d", 4)])
    assert chosen.labels == ("a", "b")
    assert set(chosen.left_out) == {"c", "d"}


def test_a_label_with_two_images_is_left_out_by_name() -> None:
    chosen = select([*images("roses", 6, 1, 2), *images("daisy", 5, 1, 1), *images("rare", 2)])
    assert chosen.labels == ("daisy", "roses")
    assert list(chosen.left_out) == ["rare"]
    assert chosen.left_out["rare"].startswith("2 images")


@pytest.mark.parametrize(
    ("some", "reason"),
    [
        ([], "at least two labels .* no labeled image"),
        (images("roses", 30, 3, 6), "at least two labels .* roses 39"),
        ([*images("roses", 30, 3, 6), *images("rare", 2)], "at least two labels .* rare 2, roses 39"),
        ([*images("roses", 30, 3), *images("daisy", 9)], "none of the 42 labeled images fell to the test side"),
    ],
)
def test_too_little_to_learn_from_is_refused(some: list[LabeledImage], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        select(some)


def test_without_unreadable_images_a_label_may_go() -> None:
    chosen = select([*images("roses", 6, 1, 2), *images("daisy", 5, 1, 1), *images("tulips", 4, 0, 1)])
    fewer = chosen.without({"tulips0"})
    assert fewer.labels == ("daisy", "roses")
    assert "tulips" in fewer.left_out
    assert chosen.without(set()) is chosen
    with pytest.raises(RefusedError):
        chosen.without({image.sha256 for image in chosen.images if image.label != "roses"})


def test_only_training_images_are_varied() -> None:
    assert len(views_of("train", augment=True)) > 1
    assert views_of("train", augment=False) == views_of("test", augment=True) == ("plain",)


@pytest.fixture
def album(tmp_path: Path) -> Iterator[tuple[ImageStore, Selection, Backbone]]:
    """Six pictures of each label; those of the training side have bottlenecks of all their views."""
    store = open_images(tmp_path / "state", make_album(tmp_path / "album", 6), 100.0)
    store.scan(settle_s=0)
    selection, backbone = select(store.labeled()), Backbone.of(read_bundle(SHIPPED), "auto")
    varied = complete(
        store, selection.images, lambda image: views_of(image.split, True), backbone, workers=1, tell=lambda *_: None
    )
    assert varied == []
    yield store, selection, backbone
    store.close()


def test_images_come_with_their_views_and_those_without_have_the_plain_one_for_all(
    album: tuple[ImageStore, Selection, Backbone],
) -> None:
    store, selection, backbone = album
    kept = KeptBottlenecks(store, backbone)
    rows = {view: store.embeddings(backbone.sha256, backbone.variant(view)) for view in AUGMENTED}
    train = kept.examples(selection, "train", augment=True)
    for image, views in zip(train.images, train.features, strict=True):
        assert [view.tobytes() for view in views] == [rows[view][image.sha256] for view in AUGMENTED]
    test = kept.examples(selection, "test", augment=True)
    assert [row.tobytes() for row in test.features] == [rows["plain"][image.sha256] for image in test.images]
    every = kept.in_views(selection.images, augment=True)
    assert every.shape == (len(selection.images), len(AUGMENTED), backbone.features)
    for image, views in zip(selection.images, every, strict=True):
        own = AUGMENTED if image.split == "train" else ("plain",) * len(AUGMENTED)
        assert [view.tobytes() for view in views] == [rows[view][image.sha256] for view in own]
    plain = kept.in_views(selection.images, augment=False)
    np.testing.assert_array_equal(plain, every[:, 0])
    others = kept.in_views(test.images, augment=True)
    np.testing.assert_array_equal(others, np.repeat(test.features[:, None], len(AUGMENTED), axis=1))


def test_a_frame_that_the_device_kept_stands_for_an_image_that_has_no_bottleneck_of_its_own(
    album: tuple[ImageStore, Selection, Backbone],
) -> None:
    store, selection, backbone = album
    first, second = selection.images[:2]
    frame = np.arange(backbone.features).astype(np.uint8)
    assert backbone.live_variant is not None
    store.put_embeddings(
        [
            Embedding(sha256, backbone.sha256, backbone.live_variant, frame.tobytes(), backbone.dtype, 1.0, 0)
            for sha256 in ("kept" + "0" * 60, first.sha256)
        ]
    )
    kept = KeptBottlenecks(store, backbone)
    live = replace(first, sha256="kept" + "0" * 60)
    np.testing.assert_array_equal(kept.array([live])[0], frame.view(kept.array([live]).dtype))
    own = store.embeddings(backbone.sha256, backbone.variant("plain"))
    assert [row.tobytes() for row in kept.array([first, second])] == [own[first.sha256], own[second.sha256]]
    alike = replace(backbone, crop=backbone.bundle.manifest.input.crop)
    assert (alike.live_variant, alike.variant("plain")) == (None, variant(alike.crop))
    assert [row.tobytes() for row in KeptBottlenecks(store, alike).array([live])] == [frame.tobytes()]
