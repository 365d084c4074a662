"""What is counted: each frame once, in its buckets, and no more labels than are good for Prometheus."""

from __future__ import annotations

import pytest

from edged.contract.messages import FINAL, Job, Result, ResultLatency, Score
from edged.metrics.tally import FAMILIARITY_BOUNDS, LATENCY_BOUNDS_S, MAX_LABELS, OTHER, JobTally, ResultTally


def result(label: str = "cup", *, model: str = "m", total: float = 8.0, familiarity: float | None = None) -> Result:
    return Result(
        seq=0,
        camera="main",
        model=model,
        label=label,
        score=0.9,
        familiarity=familiarity,
        top=[Score(label=label, score=0.9)],
        latency_ms=ResultLatency(capture=0.5, preprocess=1.0, invoke=5.0, total=total),
    )


def test_a_frame_is_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    tally = ResultTally()
    for total in (1.0, 1.001, 12_000.0):
        tally.add(result(total=total))
    counted = tally.snapshot()["main"]
    assert counted.frames == 3
    latency = counted.latency["total"]
    assert latency.bounds == LATENCY_BOUNDS_S
    assert latency.counts == (1, 1, *[0] * (len(LATENCY_BOUNDS_S) - 2), 1)
    assert latency.total == pytest.approx(12.002001)
    assert counted.latency["invoke"].counts[LATENCY_BOUNDS_S.index(0.005)] == 3


def test_a_familiarity_that_is_not_known_is_not_counted() -> None:
    tally = ResultTally()
    tally.add(result())
    assert tally.snapshot()["main"].familiarity is None
    tally.add(result(familiarity=0.02))
    tally.add(result(familiarity=1.0))
    familiarity = tally.snapshot()["main"].familiarity
    assert familiarity is not None
    assert familiarity.counts == (1, *[0] * (len(FAMILIARITY_BOUNDS) - 2), 1, 0)


def test_labels_beyond_the_bound_are_one() -> None:
    tally = ResultTally()
    for number in range(1000):
        for _ in range(2):
            tally.add(result(f"label {number}"))
    labels = tally.snapshot()["main"].labels
    assert len(labels) == MAX_LABELS + 1
    assert labels["label 0"] == labels[f"label {MAX_LABELS - 1}"] == 2
    assert labels[OTHER] == 2 * (1000 - MAX_LABELS)
    assert sum(labels.values()) == 2000


def test_labels_that_another_model_does_not_answer_make_room() -> None:
    tally = ResultTally()
    for number in range(MAX_LABELS + 5):
        tally.add(result(f"label {number}"))
    tally.add(result("label 1", model="n"))
    tally.add(result("new", model="n"))
    labels = tally.snapshot()["main"].labels
    assert (labels["label 1"], labels["new"], labels[OTHER]) == (2, 1, 5)
    assert "label 0" not in labels
    assert len(labels) == MAX_LABELS + 1


def test_a_snapshot_stays_as_it_was() -> None:
    tally = ResultTally()
    tally.add(result())
    before = tally.snapshot()["main"]
    tally.add(result())
    assert (before.frames, before.labels, sum(before.latency["total"].counts)) == (1, {"cup": 1}, 1)


def test_jobs_are_counted_when_they_end_and_a_retraining_is_dated() -> None:
    earlier = [
        Job(id="c", cmd="retrain", status="failed", ts="2026-01-03T00:00:00.000Z"),
        Job(id="b", cmd="retrain", status="succeeded", ts="2026-01-02T00:00:00.500Z"),
        Job(id="a", cmd="retrain", status="succeeded", ts="2026-01-01T00:00:00.000Z"),
        Job(id="z", cmd="retrain", status="running"),
    ]
    tally = JobTally(earlier)
    assert tally.retrained == {"failed": 1767398400.0, "succeeded": 1767312000.5}
    assert set(tally.ended) == {(name, status) for name in ("retrain", "profile") for status in FINAL}
    assert not any(tally.ended.values()), "of an earlier start"
    assert tally.running == {"retrain": 0, "profile": 0}
    for status in ("running", "running"):
        tally.add(Job(id="d", cmd="retrain", status=status))
    assert tally.running == {"retrain": 1, "profile": 0}
    tally.add(Job(id="d", cmd="retrain", status="cancelled", ts="2026-02-01T00:00:00.000Z"))
    tally.add(Job(id="e", cmd="snapshot", status="succeeded"))
    assert tally.running == {"retrain": 0, "profile": 0}
    counted = {key: count for key, count in tally.ended.items() if count}
    assert counted == {("retrain", "cancelled"): 1, ("snapshot", "succeeded"): 1}
    assert tally.retrained["cancelled"] == 1769904000.0
