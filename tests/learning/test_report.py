"""What a training tells of itself."""

from __future__ import annotations

import math

import numpy as np

from edged.learning import report
from edged.learning.acceptance import Acceptance
from edged.learning.evaluation import evaluate
from edged.learning.gate import Estimate, Verdict

RIGHT, WRONG = np.array([[0.9, 0.1]], np.float32), np.array([[0.1, 0.9]], np.float32)
NOBODY, LABEL = np.empty((0, 2), np.float32), np.array([0])


def test_what_was_not_measured_is_absent() -> None:
    good, bad, none = evaluate(RIGHT, LABEL), evaluate(WRONG, LABEL), evaluate(NOBODY, LABEL[:0])
    first = Acceptance(Verdict("promoted", "good"), 0.9)
    assert report.accuracy(good, bad, none, first).to_json() == {
        "float": 0.0, "quantized": 1.0, "cross_validated": 0.9
    }  # fmt: skip
    stranger = Acceptance(Verdict("refused", "bad"), None, "0123456789ab")
    assert report.accuracy(good, bad, bad, stranger).to_json() == {
        "float": 0.0, "quantized": 1.0, "cross_validated": None, "validation": 0.0, "previous": None
    }  # fmt: skip


def test_a_decision_says_what_was_compared_and_what_is_missing() -> None:
    alone = report.decision(Acceptance(Verdict("promoted", "good"), 0.9), accept=False).to_json()
    assert (alone["verdict"], alone["promote"], alone["against"], alone["images"]) == ("promoted", True, None, 0)
    assert (alone["difference"], alone["low"]) == (None, None)
    assert not {"more_images", "accepted", "fallen", "renamed"} & set(alone)
    difference = Estimate(-0.01, -0.04, 0.02, 0.018, -0.5, 120)
    unclear = Acceptance(
        Verdict("undecided", "few", difference, more_images=70), 0.8, "0123456789ab", 0.81, True, (("rose", "roses"),)
    )
    kept = report.decision(unclear, accept=False).to_json()
    assert (kept["promote"], kept["accepted"], kept["more_images"]) == (False, False, 70)
    assert (kept["images"], kept["difference"], kept["low"], kept["high"]) == (120, -0.01, -0.04, 0.02)
    assert (kept["made_again"], kept["renamed"]) == (True, {"rose": "roses"})
    accepted = report.decision(unclear, accept=True).to_json()
    assert (accepted["verdict"], accepted["promote"], accepted["accepted"]) == ("undecided", True, True)
    fallen = Acceptance(
        Verdict("refused", "bad", difference, fallen=(("rose", 0.31),)), 0.8, "0123456789ab", 0.81, True
    )
    refused = report.decision(fallen, accept=True).to_json()
    assert (refused["promote"], refused["fallen"]) == (False, {"rose": 0.31}), "what is worse cannot be accepted"


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
