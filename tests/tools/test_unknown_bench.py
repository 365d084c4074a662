"""What `tools/bench unknown` judges by is what a device has: also its head's temperature counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edged.learning import acceptance
from edged.learning.bottlenecks import Backbone
from edged.learning.calibration import calibrate_scores
from edged.store import read_bundle


def test_the_energy_is_that_of_a_head_that_was_divided_by_its_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import unknown

    def flat(predictions: Any, labels: Any) -> Any:
        found = calibrate_scores(predictions, labels)
        return None if found is None else replace(found, temperature=1e6)

    backbone = Backbone.of(read_bundle(unknown.MODEL), "auto")
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    rows = np.clip(random.integers(-128, 0, (3, backbone.features))[labels] + random.normal(0, 20, (60, 1)), -128, 127)
    ids = np.array([f"{number * 71_582_788:08x}{'0' * 56}" for number in range(60)])
    photos = unknown.Photos(rows.astype(np.int8), np.full(60, "flowers"), labels.astype(str), ids)
    monkeypatch.setattr(acceptance, "calibrate_scores", flat)
    energy = unknown.teach(photos, np.arange(60), labels, backbone)["energy"]
    assert energy.held_out == pytest.approx(np.log(3), abs=1e-3)
    assert energy.score(photos.features) == pytest.approx(np.log(3), abs=1e-3)
