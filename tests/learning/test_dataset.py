"""Which images take part in a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.errors import RefusedError
from edged.images import LabeledImage, Split
from edged.learning.dataset import select, views_of


def images(label: str, train: int, validation: int = 0, test: int = 0) -> list[LabeledImage]:
    splits: list[Split] = ["train"] * train + ["validation"] * validation + ["test"] * test
    return [
        LabeledImage(f"{label}{n}", f"{label}{n}", Path(f"{label}/{n}.jpg"), label, split, f"{label}{n}", 8, 8, 100)
        for n, split in enumerate(splits)
    ]


def test_labels_are_sorted_and_counted() -> None:
    chosen = select([*images("roses", 6, 1, 2), *images("daisy", 5, 1, 1)])
    assert chosen.labels == ("daisy", "roses")
    assert chosen.counts() == {"daisy": 7, "roses": 9}
    assert chosen.split_counts() == {"train": 11, "validation": 2, "test": 3}
    assert [image.label for image in chosen.of("test")] == ["roses", "roses", "daisy"]


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
