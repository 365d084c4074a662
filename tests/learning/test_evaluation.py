import numpy as np
import pytest

from edged.learning.evaluation import ClassReport, Confusion, evaluate

SCORES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.4, 0.6, 0.0],
        [0.3, 0.7, 0.0],
        [0.1, 0.8, 0.1],
        [0.0, 0.95, 0.05],
    ],
    np.float32,
)
LABELS = np.array([0, 0, 0, 1, 2])


def test_an_evaluation_counts_what_a_person_counts() -> None:
    result = evaluate(SCORES, LABELS)
    assert result.accuracy == pytest.approx(2 / 5)
    assert result.classes == (
        ClassReport(3, 1.0, pytest.approx(1 / 3)),
        ClassReport(1, pytest.approx(1 / 4), 1.0),
        ClassReport(1, None, 0.0),
    )
    assert result.confusions == (Confusion(0, 1, 2), Confusion(2, 1, 1))
    assert result.worst == (4, 2, 1)
    assert result.correct.tolist() == [True, False, False, True, False]
    assert evaluate(SCORES, LABELS, worst=1).worst == (4,)


def test_no_images_have_no_accuracy() -> None:
    result = evaluate(np.empty((0, 2), np.float32), np.empty(0, int))
    assert result.accuracy is None
    assert result.classes == (ClassReport(0, None, None),) * 2
    assert result.confusions == result.worst == ()


def test_most_frequent_confusions_come_first_and_of_equals_the_first_ones() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2])
    predicted = np.array([1, 0, 0, 0, 1, 0])
    result = evaluate(np.eye(3, dtype=np.float32)[predicted], labels)
    assert result.confusions == (Confusion(1, 0, 2), Confusion(2, 0, 2), Confusion(0, 1, 1), Confusion(2, 1, 1))
    many = evaluate(np.tile(np.array([[0.2, 0.8]], np.float32), (50, 1)), np.zeros(50, int))
    assert many.worst == tuple(range(10))
