"""Which results are published and what they say: no clock, no thread, no broker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edged.contract.messages import UNKNOWN, Result, ResultLatency, Score, Seen
from edged.contract.messages import Familiarity as Told
from edged.daemon.results import Likeness, ResultFilter, make_result
from edged.daemon.statistics import Statistics, quantiles
from edged.types import Frame, Inference, LabelScore
from edged.vision.familiarity import Familiarity, Spread
from edged.vision.quantization import Affine

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_all_results_are_published_as_they_are() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0)
    for values in (scores(0.9, 0.1), scores(0.9, 0.1), scores(0.1, 0.9)):
        smoothed, _, publish = results.update("main", values, 0.0)
        assert publish
        assert np.array_equal(smoothed, values)


def test_smoothing_is_exponential_per_camera() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0.75)
    first = results.update("a", scores(1, 0), 0.0).scores
    other = results.update("b", scores(0, 1), 0.0).scores
    second = results.update("a", scores(0, 1), 0.0).scores
    third = results.update("a", scores(0, 1), 0.0).scores
    assert first.tolist() == [1, 0]
    assert other.tolist() == [0, 1]
    assert second.tolist() == [0.75, 0.25]
    assert third.tolist() == [0.5625, 0.4375]


def test_only_a_changed_smoothed_label_is_published() -> None:
    results = ResultFilter("changes", heartbeat_s=60, smoothing=0.5)
    sequence = [scores(1, 0), scores(1, 0), scores(0, 1), scores(1, 0), scores(0, 1), scores(0, 1), scores(0, 1)]
    published = [results.update("main", values, float(second)).publish for second, values in enumerate(sequence)]
    # Smoothed scores of label 0: 1, 1, .5 (a tie stays with the first), .75, .375, …
    assert published == [True, False, False, False, True, False, False]


def test_silence_is_broken_by_a_heartbeat() -> None:
    results = ResultFilter("changes", heartbeat_s=10, smoothing=0)
    at = {second: results.update("main", scores(1, 0), float(second)).publish for second in range(0, 35, 3)}
    assert [second for second, publish in at.items() if publish] == [0, 12, 24]


def test_a_change_begins_the_heartbeat_anew() -> None:
    results = ResultFilter("changes", heartbeat_s=10, smoothing=0)
    answers = [results.update("main", *step).publish for step in ((scores(1, 0), 0.0), (scores(0, 1), 8.0))]
    answers += [results.update("main", scores(0, 1), second).publish for second in (12.0, 17.9, 18.0)]
    assert answers == [True, True, False, False, True]


def test_other_labels_begin_anew() -> None:
    results = ResultFilter("changes", heartbeat_s=60, smoothing=0.9)
    results.update("main", scores(1, 0), 0.0)
    wider, _, publish = results.update("main", scores(0, 0, 1), 1.0)  # another model, without a reset in between
    assert publish
    assert wider.tolist() == [0, 0, 1]
    results.reset()
    again, _, publish = results.update("main", scores(0, 1, 0), 2.0)
    assert publish
    assert again.tolist() == [0, 1, 0]


def test_a_result_tells_what_the_contract_says() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(
        camera="main",
        seq=99,
        image=image,
        captured_ns=1_000_000_000,
        captured_at=1769860800.0,
        capture_ms=3.5,
        prepared=image,
        preprocess_ms=1.25,
    )
    inference = Inference(scores(0.81, 0.11), scores(0), 7.5)
    top = [LabelScore("tabby", 0.81), LabelScore("tiger cat", 0.11)]
    result = make_result(
        frame, inference, top, seq=7, boot="5f0c91ab", model="0123456789ab", now_ns=1_014_000_000, familiarity=0.42
    )
    golden = json.loads((GOLDEN / "result.json").read_text())
    golden["ts"] = "2026-01-31T12:00:00.000Z"
    assert json.loads(result.encode()) == golden
    other = make_result(
        frame,
        inference,
        top,
        seq=7,
        boot="5f0c91ab",
        model="0123456789ab",
        now_ns=1_014_000_000,
        familiarity=0.42,
        network="small",
    )
    assert json.loads(other.encode()) == {**golden, "network": "small"}
    strange = make_result(
        frame,
        inference,
        top,
        seq=7,
        boot="5f0c91ab",
        model="0123456789ab",
        now_ns=1_014_000_000,
        familiarity=0.01,
        unknown=True,
    )
    assert json.loads(strange.encode()) == {**golden, "label": "unknown", "familiarity": 0.01}, "top still says what"
    silent = make_result(frame, inference, top, seq=7, boot="5f0c91ab", model="0123456789ab", now_ns=1_014_000_000)
    assert "familiarity" not in json.loads(silent.encode()), "what is not known is absent"


def likeness(score: float) -> Likeness:
    """How alike a frame is, measured against 99 held-out images with scores 1 to 99."""
    known = Familiarity(
        np.ones((1, 2), np.int8), Affine(1.0, 0), np.zeros(2, np.float32), Spread(0.0, 1.0), None,
        np.arange(1, 100, dtype=np.float32),
    )  # fmt: skip
    return Likeness(score, known)


def test_a_frame_that_is_less_alike_than_the_limit_is_unknown() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0, unknown=0.05)
    found = [results.update("main", scores(1, 0), 0.0, likeness(score)).familiarity for score in (0.5, 3.5, 4.0, 98.5)]
    assert found == [0.01, 0.04, 0.05, 0.99]
    assert [results.is_unknown(one) for one in found] == [True, True, False, False]
    assert results.update("main", scores(1, 0), 0.0).familiarity is None
    assert not results.is_unknown(None)
    assert not ResultFilter("all", 60, 0, unknown=0.0).is_unknown(0.01)


def test_likeness_is_smoothed_like_scores() -> None:
    results = ResultFilter("all", heartbeat_s=60, smoothing=0.75, unknown=0.05)
    found = [results.update("main", scores(1, 0), 0.0, likeness(score)).familiarity for score in (80.5, 0.5, 0.5)]
    assert found == [0.81, 0.61, 0.46], "80.5, then 60.5, then 45.5"


def test_becoming_unknown_is_a_change() -> None:
    results = ResultFilter("changes", heartbeat_s=60, smoothing=0, unknown=0.05)
    frames = [
        (scores(1, 0), 50.0),
        (scores(1, 0), 0.0),
        (scores(0, 1), 0.0),
        (scores(0, 1), 50.0),
        (scores(0, 1), 60.0),
    ]
    published = [results.update("main", values, 0.0, likeness(score)).publish for values, score in frames]
    assert published == [True, True, False, True, False]


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
    for total_ms in (2.0, 4.0):
        statistics.add(_counted("main", total_ms=total_ms))
    statistics.roll()
    assert statistics.frames == 2
    assert statistics.fps > 0
    assert statistics.latency is not None
    assert statistics.latency.max == 4.0
    statistics.roll()
    assert (statistics.fps, statistics.latency, statistics.frames) == (0.0, None, 2)


def _counted(camera: str, *, total_ms: float = 4.0, label: str = "cat", familiarity: float | None = None) -> Result:
    return Result(
        seq=0,
        camera=camera,
        model="0123456789ab",
        label=label,
        score=0.9,
        familiarity=familiarity,
        top=[Score(label="cat", score=0.9)],
        latency_ms=ResultLatency(capture=1, preprocess=1, invoke=1, total=total_ms),
    )


def test_a_window_tells_how_familiar_its_frames_were_and_what_they_showed_last() -> None:
    statistics = Statistics()
    for familiarity, label in ((0.01, UNKNOWN), (0.5, "cat"), (0.69, "dog"), (0.4, "cat")):
        statistics.add(_counted("door", label=label, familiarity=familiarity))
    statistics.add(_counted("yard", label="cow"))
    statistics.roll()
    assert statistics.familiarity == Told(mean=0.4, unknown=0.25, frames=4)
    assert statistics.seen == {
        "door": Seen(label="cat", score=0.9, familiarity=0.4),
        "yard": Seen(label="cow", score=0.9),
    }
    statistics.roll()
    assert (statistics.familiarity, statistics.seen) == (None, {}), "nothing of the window before"
