import numpy as np
import pytest

from edged.types import LabelScore
from edged.vision.scores import softmax, top_k

LABELS = ["daisy", "rose", "tulip", "dandelion"]


def test_softmax_of_huge_logits_does_not_overflow() -> None:
    scores = softmax(np.array([1e30, -1e30, 1e30], np.float32))
    np.testing.assert_allclose(scores, [0.5, 0, 0.5])
    assert scores.dtype == np.float32


def test_softmax_works_along_the_last_axis() -> None:
    scores = softmax(np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_the_best_come_first_and_ties_keep_their_order() -> None:
    scores = np.array([0.25, 0.5, 0.0, 0.25], np.float32)
    assert top_k(scores, LABELS, 3) == [
        LabelScore("rose", 0.5),
        LabelScore("daisy", 0.25),
        LabelScore("dandelion", 0.25),
    ]


@pytest.mark.parametrize("k", [4, 5, 1000])
def test_more_than_there_are_gives_all(k: int) -> None:
    best = top_k(np.array([0.1, 0.2, 0.3, 0.4], np.float32), LABELS, k)
    assert [entry.label for entry in best] == LABELS[::-1]
