"""Changed labels of real photos, and what was found of them."""

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
    """Clouds of bottlenecks in place of photos."""
    features = Graph((REPOSITORY / "models" / "mobilenet_v2" / "model.tflite").read_bytes()).head.features
    random = np.random.default_rng(0)
    for task, classes in (("flowers", 5), ("kinds", 4), ("handwriting", 3)):
        labels = np.repeat(np.arange(classes), 80)
        clouds = random.normal(0, 12, (classes, features))[labels] + random.normal(0, 40, (len(labels), features))
        np.savez(
            tmp_path / f"{task}.npz",
            features=np.clip(clouds, -128, 127).astype(np.int8),
            labels=[f"label {label}" for label in labels],
            groups=[hashlib.sha256(f"{task}{number}".encode()).hexdigest() for number in range(len(labels))],
        )
    return tmp_path


def test_a_bench_of_clouds_finds_what_was_changed_and_a_random_order_does_not(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import doubtful

    monkeypatch.setattr(doubtful, "SHARES", (0.0, 0.05))
    numbers = doubtful.measure(state, state, side="report", seeds=2)
    assert len(numbers["rows"]) == 17
    clean = [row for row in numbers["rows"] if not row["share"]]
    assert max(row["named"][0] for row in clean) <= 2
    spoiled = [row for row in numbers["rows"] if row["share"]]
    assert np.mean([row["edged"][0] for row in spoiled]) > 0.8
    assert np.mean([row["random"][0] for row in spoiled]) < 0.3
    assert all(row["wrong"][0] == pytest.approx(0.05 * row["photos"][0], abs=0.5) for row in spoiled)
    page = doubtful.table(numbers)
    assert page.count("\n") == len(numbers["rows"]) + 1
    assert "asked: 78%" in " ".join(doubtful.sentences(numbers))
    assert json.loads(doubtful.encode(numbers)) == numbers


def test_labels_are_changed_to_another_one_or_to_the_one_they_are_confused_with() -> None:
    from benchmarks.doubtful import spoiled

    labels = np.arange(200) % 4
    given, wrong = spoiled(labels, 4, 0.1, np.random.default_rng(0), None)
    assert len(wrong) == 20
    assert set(np.flatnonzero(given != labels)) == set(wrong)
    to = np.array([1, 0, 3, 2])
    given, wrong = spoiled(labels, 4, 0.1, np.random.default_rng(0), to)
    assert (given[wrong] == to[labels[wrong]]).all()


def test_what_was_asked_holds_on_photos_that_were_set_aside() -> None:
    from benchmarks.doubtful import ASKED, WAYS

    numbers = json.loads((REPOSITORY / "tools" / "reports" / "doubtful.json").read_text(encoding="utf-8"))
    rows = {(row["set"], row["per_label"], row["share"], row["changed"]): row for row in numbers["rows"]}
    assert numbers["side"] == "report"
    assert rows["flowers", 0, 0.05, "random"]["edged"][0] >= ASKED
    spoiled = [row for row in numbers["rows"] if row["share"]]
    for way in WAYS:
        if way != "edged":
            assert np.mean([row[way][0] for row in spoiled]) < np.mean([row["edged"][0] for row in spoiled])
    for name in ("flowers", "kinds", "handwriting"):
        clean = rows[name, 0, 0.0, "random"]
        assert clean["named"][0] <= 0.03 * clean["photos"][0]
