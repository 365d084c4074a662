"""Scores of exported files on photos that took no part, and what they have shown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.vision.graph import Graph
from tests.conftest import REPOSITORY


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Clouds of bottlenecks in place of photos: 60 of each of four labels, the first two of each near duplicates."""
    features = Graph((REPOSITORY / "models" / "mobilenet_v2" / "model.tflite").read_bytes()).head.features
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    clouds = random.normal(0, 4, (4, features))[labels] + random.normal(0, 60, (len(labels), features))
    names = [f"pair {label}" if number % 60 < 2 else f"{number}" for number, label in enumerate(labels)]
    np.savez(
        tmp_path / "flowers-report.npz",
        features=np.clip(clouds, -128, 127).astype(np.int8),
        labels=[f"label {label}" for label in labels],
        groups=[hashlib.sha256(name.encode()).hexdigest() for name in names],
    )
    return tmp_path


def test_no_photo_that_judges_nor_a_near_duplicate_of_one_is_drawn(state: Path) -> None:
    from benchmarks.calibration import draw, photos

    given = photos(state, "flowers", "report")
    for size, count in ((30, 30), (None, 39)):
        drawn = draw(given, size, 1)
        assert np.bincount(given.labels[drawn]).tolist() == [count] * 4
        assert len({given.groups[photo] for photo in drawn}) == len(drawn)
        assert set(drawn.tolist()) != set(draw(given, size, 2).tolist())
    with pytest.raises(ValueError, match="too few"):
        draw(given, 40, 1)


def test_a_retrain_is_judged_by_its_file_with_and_without_the_temperature(state: Path) -> None:
    from benchmarks.calibration import sentences, simulate, table

    assert simulate(state, "report", "flowers", 100, 0) is None
    found = [simulate(state, "report", "flowers", 30, seed) for seed in range(2)]
    rows: list[dict[str, Any]] = [row for row in found if row is not None]
    assert len(rows) == 2
    for row in rows:
        assert (row["images"], row["told"]["images"]) == (120, 120)
        assert 110 <= row["truth_photos"] <= 120, "but for near duplicates of what was drawn"
        assert row["after"]["score"] != row["before"]["score"]
        assert abs(row["after"]["accuracy"] - row["before"]["accuracy"]) <= 0.05, "8 bits may tie"
        assert row["constant"]["error"] == 0
        assert row["temperature"] != 1
        for other in ("before", "after", "fresh"):
            assert row["oracle"]["log_loss"] <= row[other]["log_loss"] + 1e-3, "no other is likelier"
        assert row["fresh"]["temperature"] != row["oracle"]["temperature"]
    numbers = {"side": "report", "seeds": 2, "asked": 0.03, "rows": rows}
    assert "| flowers, 30: 120 |" in table(numbers)
    assert "| ≤ 3% |" in table(numbers)
    assert "2 retrains, 2 of each row" in " ".join(sentences(numbers))


def test_chance_is_taken_off_before_the_root() -> None:
    from benchmarks.calibration import true_error

    assert true_error([0.0009, 0.0007]) == pytest.approx(0.0008**0.5)
    assert true_error([0.0009, -0.0009]) == 0
    assert true_error([-0.1]) == 0


def test_scores_mean_more_than_they_did_on_photos_that_were_set_aside() -> None:
    numbers = json.loads((REPOSITORY / "tools" / "reports" / "calibration.json").read_text(encoding="utf-8"))
    rows = numbers["rows"]
    assert (numbers["side"], numbers["asked"]) == ("report", 0.03)
    places = {(row["set"], row["size"]) for row in rows}
    assert {name for name, _ in places} == {"flowers", "kinds", "handwriting"}
    for place in places:
        own = [row for row in rows if (row["set"], row["size"]) == place]
        assert len(own) >= 10
        for value in ("error", "brier", "log_loss"):
            before, after = (np.mean([row[part][value] for row in own]) for part in ("before", "after"))
            assert after <= before + 5e-4, f"{place}: {value}"
        assert np.mean([row["after"]["brier"] for row in own]) < np.mean([row["constant"]["brier"] for row in own])


def test_what_was_asked_holds_for_flowers_and_handwriting_but_for_chance() -> None:
    """Not for kinds of ImageNet photos, of which some of the surest are wrong: one temperature cannot say that."""
    rows = json.loads((REPOSITORY / "tools" / "reports" / "calibration.json").read_text(encoding="utf-8"))["rows"]
    for name, size in (("flowers", 100), ("flowers", None)):
        own = [row["after"]["error"] for row in rows if (row["set"], row["size"]) == (name, size)]
        assert np.mean(own) <= 0.03
    for name, size in (("handwriting", 30), ("handwriting", None)):
        own = [row["after"]["squared"] for row in rows if (row["set"], row["size"]) == (name, size)]
        assert np.sqrt(np.mean(own)) <= 0.03
