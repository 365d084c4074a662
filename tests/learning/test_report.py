"""What a training tells of itself."""

from __future__ import annotations

import math

import numpy as np

from edged.learning import report
from edged.learning.evaluation import evaluate
from edged.learning.gate import decide
from edged.learning.judging import Incumbent

RIGHT, WRONG = np.array([[0.9, 0.1]], np.float32), np.array([[0.1, 0.9]], np.float32)
NOBODY, LABEL = np.empty((0, 2), np.float32), np.array([0])


def test_what_was_not_measured_is_absent() -> None:
    good, bad, none = evaluate(RIGHT, LABEL), evaluate(WRONG, LABEL), evaluate(NOBODY, LABEL[:0])
    assert report.accuracy(good, bad, none, None).to_json() == {"float": 0.0, "quantized": 1.0}
    stranger = Incumbent("0123456789ab", np.array([False]), np.zeros(0, bool))
    assert report.accuracy(good, bad, bad, stranger).to_json() == {
        "float": 0.0, "quantized": 1.0, "validation": 0.0, "previous": None
    }  # fmt: skip


def test_a_decision_names_the_model_that_was_compared() -> None:
    known = Incumbent("0123456789ab", np.array([True]), np.array([False]))
    alone = report.decision(decide(np.array([True]), None, 0.5), None)
    assert (alone.against, alone.images, alone.difference, alone.noise) == (None, 0, None, None)
    against = report.decision(decide(np.array([True]), known.correct, 0.5, known.shared), known)
    assert (against.promote, against.against, against.images, against.difference) == (True, "0123456789ab", 1, 1.0)


def test_lists_end_where_a_message_would_become_too_long() -> None:
    labels = np.arange(30)
    scores = np.roll(np.eye(30, dtype=np.float32), 1, axis=1)
    judged = evaluate(scores, labels)
    assert len(judged.confusions) == 30
    names = [f"label {number}" for number in labels]
    told = report.confused(judged, names)
    assert len(told) == report.MOST_CONFUSED
    assert told[0].to_json() == {"label": "label 0", "predicted": "label 1", "count": 1}
    assert report.classes(judged, names)["label 3"].to_json() == {"images": 1, "precision": 0.0, "recall": 0.0}


def test_numbers_that_json_does_not_have_become_none() -> None:
    assert [report.rounded(value) for value in (math.nan, math.inf, None, 1 / 3)] == [None, None, None, 0.3333]
    assert (report.peak_memory_mb() or 0) > 10
