"""Which results are published and what they say: no clock, no thread, no broker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edged.daemon.results import ResultFilter, make_result
from edged.daemon.statistics import Statistics, quantiles
from edged.types import Frame, Inference, LabelScore

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_all_results_are_published_as_they_are() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0)
    for values in (scores(0.9, 0.1), scores(0.9, 0.1), scores(0.1, 0.9)):
        smoothed, publish = results.update("main", values, 0.0)
        assert publish
        assert np.array_equal(smoothed, values)


def test_smoothing_is_exponential_per_camera() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0.75)
    first, _ = results.update("a", scores(1, 0), 0.0)
    other, _ = results.update("b", scores(0, 1), 0.0)
    second, _ = results.update("a", scores(0, 1), 0.0)
    third, _ = results.update("a", scores(0, 1), 0.0)
    assert first.tolist() == [1, 0]
    assert other.tolist() == [0, 1]
    assert second.tolist() == [0.75, 0.25]
    assert third.tolist() == [0.5625, 0.4375]


def test_only_a_changed_smoothed_label_is_published() -> None:
    results = ResultFilter("changes", heartbeat_s=60, smoothing=0.5)
    sequence = [scores(1, 0), scores(1, 0), scores(0, 1), scores(1, 0), scores(0, 1), scores(0, 1), scores(0, 1)]
    published = [results.update("main", values, float(second))[1] for second, values in enumerate(sequence)]
    # Smoothed scores of label 0: 1, 1, .5 (a tie stays with the first), .75, .375, …
    assert published == [True, False, False, False, True, False, False]


def test_silence_is_broken_by_a_heartbeat() -> None:
    results = ResultFilter("changes", heartbeat_s=10, smoothing=0)
    at = {second: results.update("main", scores(1, 0), float(second))[1] for second in range(0, 35, 3)}
    assert [second for second, publish in at.items() if publish] == [0, 12, 24]


def test_a_change_begins_the_heartbeat_anew() -> None:
    results = ResultFilter("changes", heartbeat_s=10, smoothing=0)
    answers = [results.update("main", *step)[1] for step in ((scores(1, 0), 0.0), (scores(0, 1), 8.0))]
    answers += [results.update("main", scores(0, 1), second)[1] for second in (12.0, 17.9, 18.0)]
    assert answers == [True, True, False, False, True]


def test_other_labels_begin_anew() -> None:
    results = ResultFilter("changes", heartbeat_s=60, smoothing=0.9)
    results.update("main", scores(1, 0), 0.0)
    wider, publish = results.update("main", scores(0, 0, 1), 1.0)  # another model, without a reset in between
    assert publish
    assert wider.tolist() == [0, 0, 1]
    results.reset()
    again, publish = results.update("main", scores(0, 1, 0), 2.0)
    assert publish
    assert again.tolist() == [0, 1, 0]


def test_a_result_tells_what_the_contract_says() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(
        camera="main",
        seq=7,
        image=image,
        captured_ns=1_000_000_000,
        captured_at=1769860800.0,
        capture_ms=3.5,
        prepared=image,
        preprocess_ms=1.25,
    )
    inference = Inference(scores(0.81, 0.11), scores(0), 7.5)
    top = [LabelScore("tabby", 0.81), LabelScore("tiger cat", 0.11)]
    result = make_result(frame, inference, top, model="0123456789ab", now_ns=1_014_000_000)
    golden = json.loads((GOLDEN / "result.json").read_text())
    golden["ts"] = "2026-01-31T12:00:00.000Z"
    assert json.loads(result.encode()) == golden
    other = make_result(frame, inference, top, model="0123456789ab", now_ns=1_014_000_000, network="small")
    assert json.loads(other.encode()) == {**golden, "network": "small"}


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 1, 1, 1)), (2, (1, 2, 2, 2)), (100, (50, 95, 99, 100)), (101, (51, 96, 100, 101)), (20, (10, 19, 20, 20))],
)
def test_quantiles_are_nearest_ranks(count: int, expected: tuple[float, ...]) -> None:
    values = [float(value) for value in range(count, 0, -1)]
    latency = quantiles(values)
    assert latency is not None
    assert (latency.p50, latency.p95, latency.p99, latency.max) == expected


@pytest.mark.parametrize("seed", range(20))
def test_quantiles_are_those_of_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(2, 1, int(rng.integers(1, 3000))).tolist()
    ordered = sorted(values)
    latency = quantiles(values)
    assert latency is not None
    ranks = [-(-percent * len(ordered) // 100) for percent in (50, 95, 99, 100)]
    assert [latency.p50, latency.p95, latency.p99, latency.max] == [round(ordered[rank - 1], 3) for rank in ranks]


def test_a_window_without_frames_has_no_latency() -> None:
    statistics = Statistics()
    statistics.add(2.0)
    statistics.add(4.0)
    statistics.roll()
    assert statistics.frames == 2
    assert statistics.fps > 0
    assert statistics.latency is not None
    assert statistics.latency.max == 4.0
    statistics.roll()
    assert (statistics.fps, statistics.latency, statistics.frames) == (0.0, None, 2)
