"""The images of several devices in one pool, and one head of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import RefusedError
from edged.images.image import split_of
from edged.learning.bottlenecks import Backbone
from edged.learning.comparison import FOLDS, folds_of
from edged.learning.judges import Judges
from edged.learning.pooled import pool, train
from edged.learning.privacy import Noise
from edged.learning.sharing import Shared, hidden
from edged.store import read_bundle
from edged.vision.network import HeadNetwork
from tests.learning.conftest import SHIPPED

LABELS = ("discs", "rings", "stripes")
SIDES = ("train", "validation", "test")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


BACKBONE = Backbone.of(read_bundle(SHIPPED), "auto")
CENTRES = np.random.default_rng(0).normal(0, 25, (len(LABELS), BACKBONE.features))


def device(
    names: Sequence[str],
    *,
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    confirmed: Sequence[bool] | None = None,
) -> Shared:
    """Images of clouds around a centre for each label: the name of an image says which, and where it lies there."""
    ids = tuple(map(digest, names))
    group = ids if groups is None else tuple(map(digest, groups))
    shown = [int(digest(name)[-4:], 16) % len(LABELS) for name in names]
    rows = [
        CENTRES[one] + np.random.default_rng(int(id_[:8], 16)).normal(0, 30, BACKBONE.features)
        for one, id_ in zip(shown, ids, strict=True)
    ]
    hashes = [np.frombuffer(bytes.fromhex(id_[:16]), np.uint8) for id_ in ids]
    return Shared(
        BACKBONE.bundle.backbone, BACKBONE.sha256, BACKBONE.affine, np.clip(rows, -128, 127).astype(np.int8), LABELS,
        np.array(shown if labels is None else labels, np.intp),
        np.array([SIDES.index(split_of(one)) for one in group], np.uint8), folds_of(group),
        np.zeros(len(ids), bool) if confirmed is None else np.array(confirmed), ids, group, np.array(hashes),
    )  # fmt: skip


def names(first: int, count: int) -> list[str]:
    return [f"photo {number}" for number in range(first, first + count)]


def test_an_image_that_two_devices_have_counts_once() -> None:
    put_together = pool({"a": device(names(0, 10)), "b": device(names(5, 10))})
    assert sorted(image.sha256 for image in put_together.images) == sorted(map(digest, names(0, 15)))
    assert put_together.twice == 5
    assert put_together.contradictory == 0
    assert [image.path.parent.name for image in put_together.images].count("a") == 10


def test_whom_devices_call_differently_is_left_out_unless_a_person_has_looked() -> None:
    ours = device(["x", "y", "z"], labels=[0, 0, 0], confirmed=[False, True, True])
    theirs = device(["x", "y", "z"], labels=[1, 1, 1], confirmed=[False, False, True])
    put_together = pool({"a": ours, "b": theirs})
    assert [(image.sha256, image.label) for image in put_together.images] == [(digest("y"), LABELS[0])]
    assert (put_together.twice, put_together.contradictory) == (3, 2)


def grouped(side: str, without: Sequence[str] = ()) -> str:
    """A name whose group falls to a side, and to none of the folds that others are in."""
    folds = folds_of([digest(one) for one in without])
    return next(
        name
        for name in (f"burst {number}" for number in range(1000))
        if split_of(digest(name)) == side and folds_of([digest(name)])[0] not in folds
    )


def test_near_duplicates_of_a_test_image_anywhere_are_test_images() -> None:
    learned, judged = grouped("train"), grouped("test")
    # The same photo, which another device has taken for a near duplicate of one that is on its test side.
    put_together = pool({
        "a": device(["one", "other"], groups=[learned, learned]),
        "b": device(["one", "third"], groups=[judged, judged]),
    })  # fmt: skip
    assert {image.split for image in put_together.images} == {"test"}
    assert len({image.group_id for image in put_together.images}) == 1
    assert (put_together.folds.sum(axis=1) == 2).all()  # no judge of either device's fold has seen any


def test_near_duplicates_on_two_devices_are_found_by_hash_and_bottleneck() -> None:
    learned = grouped("train")
    other = grouped("train", [learned])
    ours, theirs = device(["one"], groups=[learned]), device(["another"], groups=[other])
    assert ours.hashes is not None
    alike = replace(theirs, hashes=ours.hashes ^ np.eye(1, 8, dtype=np.uint8), bottlenecks=ours.bottlenecks)
    assert len({image.group_id for image in pool({"a": ours, "b": alike}).images}) == 1
    # Either alone is chance: flat images have near hashes, photos of one kind of flower near bottlenecks.
    hash_alone = replace(alike, bottlenecks=-ours.bottlenecks)
    bottleneck_alone = replace(alike, hashes=~ours.hashes)
    for chance in (hash_alone, bottleneck_alone):
        assert len({image.group_id for image in pool({"a": ours, "b": chance}).images}) == 2


def test_what_does_not_belong_together_is_refused() -> None:
    ours = device(names(0, 3))
    for other in (
        replace(ours, backbone_sha256="b" * 64),
        hidden(ours, Noise(25.0, 0.1), b"secret"),
        replace(ours, bottlenecks=ours.bottlenecks[:, 1:]),
    ):
        with pytest.raises(RefusedError, match="b: its bottlenecks are of another network, or have other noise"):
            pool({"a": ours, "b": other})


def told(_stage: str, _share: float) -> None:
    pass


def train_on(devices: dict[str, Shared]) -> Any:
    return train(pool(devices), BACKBONE, Hyperparameters(batch=16), "run", told)


def test_one_head_is_the_same_wherever_its_images_lie() -> None:
    everything = names(0, 90)
    spread = {f"line-{number}": device(everything[number::3]) for number in range(3)}
    apart, at_once = train_on(spread), train_on({"all": device(everything)})
    assert apart.model == at_once.model
    assert apart.familiarity == at_once.familiarity
    assert apart.judges.encode() == at_once.judges.encode()
    assert apart.labels == LABELS
    fresh = device(names(500, 60))
    found = HeadNetwork(apart.model).scores(fresh.bottlenecks).argmax(axis=1)
    assert (found == fresh.label_of).mean() > 0.9
    assert apart.report.accuracy.quantized > 0.8
    assert apart.manifest.backbone_sha256 == BACKBONE.sha256


def test_the_head_and_its_judges_have_not_seen_whom_they_judge() -> None:
    """Images with a label of chance: who has seen one knows it, and who has not is right on a third of them."""
    everything = device(names(0, 150))
    random = np.random.default_rng(3)
    wrong = replace(
        everything, label_of=random.integers(0, 3, 150),
        bottlenecks=random.integers(-128, 128, everything.bottlenecks.shape).astype(np.int8),
    )  # fmt: skip
    made = train(pool({"a": wrong}), BACKBONE, Hyperparameters(batch=16, l2=0, patience=100), "run", told)

    def right(found: np.ndarray, rows: np.ndarray) -> float:
        return float((found.argmax(axis=1) == wrong.label_of)[rows].mean())

    file = HeadNetwork(made.model).scores(wrong.bottlenecks)
    test = wrong.split_of == SIDES.index("test")
    assert right(file, ~test) > 0.9
    assert right(file, test) < 0.6
    judged = made.judges.logits(wrong.bottlenecks, BACKBONE.affine, wrong.groups)
    assert right(judged, np.ones(150, bool)) < 0.5
    others = made.judges.logits(wrong.bottlenecks, BACKBONE.affine, [wrong.groups[-1]] * 150)
    assert right(others, wrong.fold_of != wrong.fold_of[-1]) > 0.9


def test_judges_travel_as_bytes_and_fit_their_model_alone() -> None:
    random = np.random.default_rng(0)
    judges = Judges(
        random.normal(0, 1, (FOLDS, 3, 10)).astype(np.float32), random.normal(0, 9, (FOLDS, 3)).astype(np.float32)
    )
    back = Judges.decode(judges.encode(), 3, 10)
    assert np.allclose(back.weights, judges.weights, rtol=1e-3)
    assert np.allclose(back.bias, judges.bias, rtol=1e-3)
    with pytest.raises(RefusedError, match="do not fit a model of 4 labels"):
        Judges.decode(judges.encode(), 4, 10)
    with pytest.raises(RefusedError, match="not all of their weights are numbers"):
        Judges.decode(b"\xff\x7f" * (FOLDS * 3 * 11), 3, 10)


def test_noise_is_trained_on_without_a_test_side() -> None:
    devices = {
        f"line-{number}": hidden(
            device([name for name in names(60 * number, 60) if split_of(digest(name)) != "test"]),
            Noise(1100.0 * BACKBONE.affine.scale, 0.01), str(number).encode(),
        )
        for number in range(3)
    }  # fmt: skip
    made = train_on(devices)
    assert made.familiarity is None
    assert made.report.calibration is None
    fresh = device(names(500, 60))
    found = HeadNetwork(made.model).scores(fresh.bottlenecks).argmax(axis=1)
    assert (found == fresh.label_of).mean() > 0.9
