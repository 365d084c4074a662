"""What a training tells of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edged.images import LabeledImage
from edged.learning import report
from edged.learning.acceptance import Acceptance
from edged.learning.calibration import Bin, Calibration, Quality
from edged.learning.dataset import Examples
from edged.learning.evaluation import evaluate
from edged.learning.gate import Estimate, Verdict
from edged.learning.learning_curve import ClassCurve, CurvePoint, LearningCurve
from edged.learning.softmax_regression import EpochReport, Fitted

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
    assert (alone["difference"], alone["low"], alone["reason"]) == (None, None, "good")
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
    assert len(told) == 10
    assert told[0].to_json() == {"label": "label 0", "predicted": "label 1", "count": 1}
    assert report.classes(judged, names)["label 3"].to_json() == {"images": 1, "precision": 0.0, "recall": 0.0}


def test_all_confusions_are_told_of_as_many_labels_as_can_be_read() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 0, 2]]
    told = report.confusion(evaluate(scores, labels), ("a", "b", "c"))
    assert told is not None
    assert told.to_json() == {"labels": ["a", "b", "c"], "counts": [[1, 2, 0], [0, 1, 0], [1, 0, 1]]}
    for most, known in ((30, True), (31, False)):
        many = evaluate(np.eye(most, dtype=np.float32), np.arange(most))
        assert (report.confusion(many, [str(n) for n in range(most)]) is not None) == known


def test_the_classes_that_would_gain_most_have_their_curves_told() -> None:
    each = (None, *(ClassCurve((0.5, 0.6, 0.7, n / 100), n / 1000) for n in range(40)))
    told = report.curve(LearningCurve((), None, each), [f"label {n}" for n in range(41)]).to_json()
    assert list(told["classes"]) == [f"label {n}" for n in range(11, 41)]
    assert told["classes"]["label 40"] == {"recall": [0.5, 0.6, 0.7, 0.39], "gain_per_100": 0.039}


def test_the_worst_images_are_those_furthest_from_their_label() -> None:
    """Thirty images of a label, of which 18 are taken for the other one, the later ones by more and more."""
    labels = np.zeros(30, np.intp)
    own = np.where(np.arange(30) < 12, 0.9, 0.5 - np.arange(30) / 100).astype(np.float32)
    scores = np.stack([own, 1 - own], axis=1)
    images = tuple(LabeledImage(f"id{n}", f"id{n}", f"a/{n}.jpg", "a", "test", f"id{n}", 8, 8, 100) for n in range(30))
    examples = Examples(images, np.zeros((30, 1), np.uint8), labels)
    told = [image.to_json() for image in report.worst(evaluate(scores, labels), examples, scores, ("a", "b"))]
    assert len(told) == 10
    assert told[0] == {"id": "id29", "file": "29.jpg", "label": "a", "predicted": "b", "score": 0.21}
    assert [image["id"] for image in told] == [f"id{n}" for n in range(29, 19, -1)]


def test_the_training_that_is_told_of_is_that_of_the_epoch_that_was_taken() -> None:
    history = tuple(EpochReport(epoch, 0.1, 1 / epoch, 0.5 + epoch / 10, 2 / epoch, 0.25) for epoch in range(1, 5))
    weights = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    told = report.training(Fitted(*weights, history, 3, "patience"))
    assert (told.epochs, told.best_epoch, told.stopped) == (4, 3, "patience")
    assert (told.loss, told.validation_loss, told.cuts) == (0.3333, 0.6667, ())
    assert told.history is not None
    assert told.history.to_json() == {
        "epoch": [1, 2, 3, 4], "loss": [1.0, 0.5, 0.3333, 0.25], "accuracy": [0.6, 0.7, 0.8, 0.9],
        "validation_loss": [2.0, 1.0, 0.6667, 0.5], "validation_accuracy": [0.25] * 4,
    }  # fmt: skip
    long = tuple(EpochReport(epoch, 0.1, 1.0, 0.5, None, None) for epoch in range(1, 1001))
    spread = report.training(Fitted(*weights, long, 501, "epochs")).history
    assert spread is not None
    assert (spread.epoch[0], spread.epoch[-1], 501 in spread.epoch, len(spread.epoch)) == (1, 1000, True, 41)
    assert "validation_loss" not in spread.to_json()
    cut = (*history[:2], replace(history[2], lr=0.03), history[3])
    assert report.training(Fitted(*weights, cut, 3, "patience")).cuts == (2,)
    none_was_better = report.training(Fitted(*weights, history, 0, "epochs"))
    assert (none_was_better.loss, none_was_better.validation_loss) == (0.25, 0.5)
    assert report.epoch(history[2]) == {
        "epoch": 3, "loss": 0.3333, "accuracy": 0.8, "validation_loss": 0.6667, "validation_accuracy": 0.25
    }  # fmt: skip
    assert report.epoch(EpochReport(1, 0.1, 0.5, 0.5, None, None)) == {"epoch": 1, "loss": 0.5, "accuracy": 0.5}


def test_the_gain_of_a_hundred_images_has_one_digit_more_than_the_accuracies() -> None:
    learned = LearningCurve((CurvePoint(30, 1 / 3, taken_over=True), CurvePoint(60, 2 / 3)), 0.000123456)
    assert report.curve(learned, ("a", "b")).to_json() == {
        "points": [{"images": 30, "accuracy": 0.3333, "taken_over": True}, {"images": 60, "accuracy": 0.6667}],
        "gain_per_100": 0.00012,
    }


def test_scores_are_told_of_with_their_temperature_and_their_bins() -> None:
    qualities = (Quality(number / 3, number / 7, 0.25, 1 / 3) for number in range(3))
    told = report.calibration(Calibration(0.0123456789, 60, *qualities, (Bin(3, 2 / 3, 1 / 3), Bin(57, 0.9, 1.0))))
    assert told.to_json() == {
        "temperature": 0.012346,
        "images": 60,
        "before": {"error": 0.0, "chance": 0.0, "brier": 0.25, "log_loss": 0.3333},
        "after": {"error": 0.3333, "chance": 0.1429, "brier": 0.25, "log_loss": 0.3333},
        "constant": {"error": 0.6667, "chance": 0.2857, "brier": 0.25, "log_loss": 0.3333},
        "bins": [
            {"images": 3, "score": 0.6667, "accuracy": 0.3333}, {"images": 57, "score": 0.9, "accuracy": 1.0}
        ],
    }  # fmt: skip


def test_the_peak_of_memory_is_the_kernel_s_in_millions_of_bytes() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    assert report.peak_memory_mb() == pytest.approx(kibibytes * 1024 / 1e6, rel=0.01)


def test_numbers_that_json_does_not_have_become_none() -> None:
    assert [report.rounded(value) for value in (math.nan, math.inf, None, 1 / 3)] == [None, None, None, 0.3333]
    assert (report.peak_memory_mb() or 0) > 10
