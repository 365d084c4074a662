"""Simulated retrains, and what they have shown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edged.vision.graph import Graph
from tests.conftest import REPOSITORY


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Clouds of bottlenecks in place of photos: 60 a label, four views of each that hardly differ."""
    features = Graph((REPOSITORY / "models" / "mobilenet_v2" / "model.tflite").read_bytes()).head.features
    random = np.random.default_rng(0)
    for task, classes in (("flowers", 5), ("kinds", 4)):
        labels = np.repeat(np.arange(classes), 150)
        centres = random.normal(0, 6, (classes, features))
        clouds = centres[labels][:, np.newaxis] + random.normal(0, 40, (len(labels), 1, features))
        views = clouds + random.normal(0, 4, (len(labels), 4, features))
        np.savez(
            tmp_path / f"{task}.npz",
            features=np.clip(views, -128, 127).astype(np.int8),
            labels=[f"label {label}" for label in labels],
            groups=[hashlib.sha256(f"{task}{number}".encode()).hexdigest() for number in range(len(labels))],
        )
    return tmp_path


def test_no_photo_that_tells_the_truth_is_in_a_set(state: Path) -> None:
    from benchmarks.gate import SCENARIOS, Retrain, photos

    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        flowers, kinds = photos(state, "flowers", "report"), photos(state, "kinds", "report")
        one = Retrain(np.random.default_rng(number), "flowers", flowers, kinds, 20)
        scenario(one)
        drawn = {image.photo for image in [*one.old, *one.new] if image.task == "flowers"}
        assert drawn, name
        assert drawn.isdisjoint(one.truth), name
        assert len(one.truth) + len(drawn) == len(flowers.labels), name


def test_the_sides_have_no_photo_in_common(state: Path) -> None:
    from benchmarks.gate import photos

    develop, report = (set(photos(state, "flowers", side).groups) for side in ("develop", "report"))
    assert not develop & report
    assert len(develop | report) == 750


def test_a_model_of_fewer_photos_is_truly_worse_and_one_of_corrected_labels_better(state: Path) -> None:
    from benchmarks.gate import simulate

    rows = [
        row
        for seed in range(4)
        for scenario in ("photos removed", "labels corrected")
        if (row := simulate(state, "report", "flowers", 50, scenario, seed)) is not None
    ]
    worse = [row["gain"] for row in rows if row["scenario"] == "photos removed"]
    better = [row["gain"] for row in rows if row["scenario"] == "labels corrected"]
    assert np.mean(worse) < 0 < np.mean(better)
    assert {row["verdict"] for row in rows} <= {"promoted", "refused", "undecided"}
    assert not any(row["verdict"] == "promoted" and row["gain"] < -0.05 for row in rows)


def test_what_was_asked_of_the_gate_holds_on_photos_that_were_set_aside() -> None:
    numbers = json.loads((REPOSITORY / "tools" / "reports" / "gate.json").read_text(encoding="utf-8"))
    rows = numbers["rows"]
    assert (numbers["side"], len(rows)) == ("report", 1000)
    promoted = [row["gain"] for row in rows if row["verdict"] == "promoted"]
    assert np.mean([gain < -0.02 for gain in promoted]) <= 0.05
    better = [row["verdict"] for row in rows if row["gain"] >= 0.02 and row["size"] >= 50]
    assert np.mean([verdict == "promoted" for verdict in better]) >= 0.8
    before = [row["gain"] for row in rows if row["before"] == "promoted"]
    assert np.mean([gain < -0.02 for gain in before]) > 0.05, "the rule before would have done"
