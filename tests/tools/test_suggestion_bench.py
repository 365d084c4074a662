"""What `tools/bench suggest` says of suggestions: photos that judge take no part, and a bad way shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three blobs of a hundred photos, in the width of the shipped network's bottlenecks, as a task's photos."""
    random = np.random.default_rng(0)
    centres = random.uniform(0, 255, (3, 1280))
    labels = np.repeat(["a", "b", "c"], 100)
    values = centres[np.unique(labels, return_inverse=True)[1]] + random.normal(0, 200, (300, 1280))
    groups = [f"{number * 14_316_557:08x}{'f' * 56}" for number in range(300)]  # all splits, all on the report side
    features = np.clip(values, 0, 255).astype(np.uint8)
    np.savez(tmp_path / "suggest-groups.npz", features=features, labels=labels, groups=groups)
    return tmp_path


def test_photos_that_judge_are_not_labeled(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import suggestion

    judged: list[set[int]] = []
    taught: set[int] = set()

    def right(_: Any, __: Any, rows: np.ndarray) -> float:
        judged.append(set(rows.tolist()))
        return 0.5

    def head(all_: Any, labeled: np.ndarray) -> Any:
        taught.update(labeled.tolist())
        return heads(all_, labeled)

    heads = suggestion.head_of
    monkeypatch.setattr(suggestion, "share_right", right)
    monkeypatch.setattr(suggestion, "head_of", head)
    points = suggestion.learn(state, "report", "groups", "images suggest", 0)
    assert [labels for labels, _ in points] == [15, 35, 55, 75, 95, 115, 135, 155, 158]
    assert all(rows == judged[0] for rows in judged)
    assert len(judged[0]) == 75
    assert not judged[0] & taught
    assert len(taught) == 158


def test_every_way_names_as_many_as_asked_for_and_none_twice(state: Path) -> None:
    from benchmarks import suggestion

    all_ = suggestion.photos(state, "groups", "report")
    random = np.random.default_rng(0)
    order = random.permutation(300)
    scores = random.dirichlet([1, 1, 1], 250).astype(np.float32)
    for name, way in suggestion.WAYS.items():
        chosen = way(suggestion.Choice(all_, order[50:], order[:50], scores, random), 20)
        assert len(set(chosen.tolist())) == 20, name
        assert set(chosen.tolist()) <= set(order[50:].tolist()), name
    choice = suggestion.Choice(all_, order[50:], order[:50], scores, random)
    margins = dict(zip(order[50:].tolist(), choice.margins.tolist(), strict=True))
    chosen = suggestion.smallest_margin(choice, 20)
    assert max(margins[row] for row in chosen.tolist()) <= min(margins[row] for row in margins.keys() - set(chosen))


def test_the_goal_is_reached_where_it_stays_reached() -> None:
    from benchmarks.suggestion import reached

    curve = {"labels": [10, 30, 50, 70], "accuracy": [0.5, 0.8, 0.7, 0.8]}
    assert reached(curve, 0.7) == 30
    assert reached(curve, 0.75) == 70
    assert reached(curve, 0.9) is None
