"""What `tools/bench unknown` judges by is what a device has: also its head's temperature counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edged.images.image import split_of
from edged.learning import acceptance
from edged.learning.bottlenecks import Backbone
from edged.learning.calibration import calibrate_scores
from edged.learning.recipe import make_head
from edged.store import read_bundle
from tests.conftest import REPOSITORY

BACKBONE = Backbone.of(read_bundle(REPOSITORY / "models" / "mobilenet_v2"), "auto")


def clouds() -> tuple[Any, Any]:
    """Return photos of three labels, 20 each, whose places among the sides are even, and their labels."""
    from benchmarks import unknown

    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    rows = np.clip(random.integers(-128, 0, (3, BACKBONE.features))[labels] + random.normal(0, 20, (60, 1)), -128, 127)
    ids = np.array([f"{number * 71_582_788:08x}{'0' * 56}" for number in random.permutation(60)])
    return unknown.Photos(rows.astype(np.int8), np.full(60, "flowers"), labels.astype(str), ids), labels


def test_a_head_is_made_of_as_many_photos_as_those_that_judge_held_out_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: a head that is made of more photos is surer of new ones, and hardly any of them looks strange."""
    from benchmarks import unknown

    taught: list[int] = []

    def recorded(train: Any, validation: Any, **options: Any) -> Any:
        taught.append(len(train[1]) + len(validation[1]))
        return make_head(train, validation, **options)

    photos, labels = clouds()
    monkeypatch.setattr(unknown, "make_head", recorded)
    unknown.teach(photos, np.arange(60), labels, BACKBONE)
    assert taught == [np.count_nonzero([split_of(id_) != "test" for id_ in photos.ids])]


def test_the_energy_is_that_of_a_head_that_was_divided_by_its_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import unknown

    def flat(predictions: Any, labels: Any) -> Any:
        found = calibrate_scores(predictions, labels)
        return None if found is None else replace(found, temperature=1e6)

    photos, labels = clouds()
    monkeypatch.setattr(acceptance, "calibrate_scores", flat)
    energy = unknown.teach(photos, np.arange(60), labels, BACKBONE)["energy"]
    assert energy.held_out == pytest.approx(np.log(3), abs=1e-3)
    assert energy.score(photos.features) == pytest.approx(np.log(3), abs=1e-3)


def test_what_would_pass_a_limit_that_makes_exactly_its_false_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging photos score 0 … 100, so that 2 and 5 of a hundred lie below 2 and 5; strangers score 0 … 9."""
    from benchmarks import unknown

    scores = np.concatenate([np.arange(-101, 0), np.arange(101), np.arange(10)]).astype(np.int8)
    labels = np.repeat([0, 1], [202, 10]).astype(np.intp)
    everything = unknown.Photos(scores[:, np.newaxis], labels.astype(str), labels.astype(str), labels.astype(str))
    flowers = unknown.Set(np.arange(202), labels[:202], {"ImageNet": np.arange(202, 212)})
    judge = unknown.Judge(lambda some: some[:, 0].astype(float), np.arange(3.0, 4.0))
    monkeypatch.setattr(unknown, "draw_taught", lambda *_: (np.arange(101), np.arange(101, 202)))
    monkeypatch.setattr(unknown, "teach", lambda *_: {"edged": judge})
    (row,) = unknown._far(everything, flowers, "flowers", 30, 0, BACKBONE)
    assert row["pass_exact"] == {"ImageNet": {"0.02": 0.8, "0.05": 0.5}}
