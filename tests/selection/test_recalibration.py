"""Doubts that follow the camera without labels: on answers made to be too sure, and on made networks in full."""

from dataclasses import replace

import numpy as np
import pytest

from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import play
from edged.selection.cascade import Cascade, Steps
from edged.selection.confidence import pool
from edged.selection.recalibration import Recalibration, doubts_of
from edged.selection.strategy import ByCascade
from tests.lab.selection.synthetic import measurements


def recalibrated(cascade: Cascade, scores: np.ndarray) -> Recalibration:
    """Audit every photo of (networks, photos, classes)."""
    found = Recalibration(cascade)
    for photo in range(scores.shape[1]):
        found.audit(cascade.classify(lambda network, photo=photo: scores[network, photo], -1.0))
    return found


def test_doubts_of_answers_by_hand():
    first, both = np.array([[0.7, 0.3]], np.float32), np.array([[0.4, 0.6]], np.float32)
    own, together = doubts_of([first, both])
    assert own == pytest.approx(np.array([[0.3]]))
    assert together == pytest.approx(np.array([[0.6]]))


def test_on_photos_like_those_of_the_fit_thresholds_stay():
    measured = measurements(1200)
    cascade = fit_cascade(measured.take(np.arange(600)), pooled=True, decision_ms=0.1)
    found = recalibrated(cascade, measured.scores[:, 600:])
    assert found.audits == 600
    assert found.factors == pytest.approx([1] * len(found.factors), abs=0.25)


def test_a_network_that_became_too_sure_is_asked_to_be_checked_more_often():
    """The cheap network is often wrong, and very sure, as behind a bad lens: more frames go on, without a label."""
    fit_to, run_on = measurements(800), measurements(800, seed=1)
    cascade = fit_cascade(fit_to, pooled=False, decision_ms=0.1)
    cheap = cascade.stages[0].network
    scores = run_on.scores.copy()
    scores[cheap] = pool([np.roll(scores[cheap], 1, axis=0)], [3.0])  # the answers of other photos, and very sure
    shifted = replace(run_on, scores=scores)
    found = recalibrated(cascade, scores[:, ::2])
    assert found.factors[0] > 2
    before = play(ByCascade(cascade), cascade.default, shifted, 0.1)
    after = play(ByCascade(found.cascade), cascade.default, shifted, 0.1)
    assert after.top1.mean() > before.top1.mean() + 0.05
    assert after.cost_ms.mean() > before.cost_ms.mean()


def test_what_was_seen_long_ago_is_forgotten():
    measured = measurements(600)
    cascade = fit_cascade(measured, pooled=False, decision_ms=0.1)
    found = Recalibration(cascade)
    classes = measured.scores.shape[2]
    sure, other = np.eye(classes, dtype=np.float32)[0], np.eye(classes, dtype=np.float32)[1]
    steps = len(cascade.stages)
    wrong = Steps((*[0.9 * sure + 0.1 * other] * (steps - 1), other), (0.0,) * steps, 2)
    right = Steps((*[0.9 * sure + 0.1 * other] * (steps - 1), 0.9 * sure + 0.1 * other), (0.0,) * steps, 2)
    for _ in range(300):
        found.audit(wrong)
    assert found.factors[0] > 3
    for _ in range(3000):
        found.audit(right)
    assert found.factors[0] < 1.3
