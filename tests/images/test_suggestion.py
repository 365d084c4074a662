"""Which frames are suggested for a label: points on a few blobs, and doubt by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edged.images import Suggestion, suggest
from tests.images.test_clustering import kinds


def rows(found: list[Suggestion]) -> list[int]:
    return [one.row for one in found]


def sure_of(labels: np.ndarray, classes: int, *, margin: float = 0.98) -> np.ndarray:
    """Return probabilities that are right with this margin over the next one, (n, classes)."""
    scores = np.full((len(labels), classes), 0.0, np.float32)
    scores[np.arange(len(labels)), labels] = (1 + margin) / 2
    scores[np.arange(len(labels)), (labels + 1) % classes] = (1 - margin) / 2
    return scores


class ByHand:
    """Chooses one frame after another, each time the one that covers most of the doubt that is left: all gains anew."""

    def __init__(self, pool: np.ndarray, taught: np.ndarray) -> None:
        origin = np.concatenate([pool, taught]).mean(axis=0)
        pointing = [(rows - origin) / np.linalg.norm(rows - origin, axis=1, keepdims=True) for rows in (pool, taught)]
        self.covering = np.maximum(pointing[0] @ pointing[0].T, 0) ** 2
        self.covered = (np.maximum(pointing[1] @ pointing[0].T, 0) ** 2).max(axis=0)
        self.chosen: list[int] = []

    def choose(self, candidates: np.ndarray, doubt: np.ndarray, count: int) -> None:
        for _ in range(count):
            left = [row for row in candidates if row not in self.chosen]
            best = max(left, key=lambda row: doubt @ np.maximum(self.covering[row] - self.covered, 0))
            self.chosen.append(int(best))
            self.covered = np.maximum(self.covered, self.covering[best])


def doubts(scores: np.ndarray) -> np.ndarray:
    best = np.sort(scores, axis=1)
    return np.asarray(1 - (best[:, -1] - best[:, -2]))


@pytest.mark.parametrize("seed", range(4))
def test_each_is_the_one_that_covers_most_of_the_doubt_that_is_left(seed: int) -> None:
    random = np.random.default_rng(seed)
    pool, _ = kinds(6, 12, seed=seed, noise=1.2)
    taught, _ = kinds(6, 1, seed=seed + 50, noise=1.2)
    scores = random.dirichlet(np.full(12, 0.2), len(pool)).astype(np.float32)
    expected = ByHand(pool, taught)
    expected.choose(np.arange(len(pool)), doubts(scores), 25)
    assert rows(suggest(pool, 25, taught=taught, scores=scores)) == expected.chosen


@pytest.mark.parametrize("seed", range(4))
def test_strangers_cover_strangers_and_the_others_the_doubt_of_the_others(seed: int) -> None:
    random = np.random.default_rng(seed)
    pool, truth = kinds(6, 12, seed=seed, noise=1.2)
    taught, _ = kinds(6, 1, seed=seed + 50, noise=1.2)
    scores = random.dirichlet([0.5, 0.5, 0.5], len(pool)).astype(np.float32)
    strange = (truth < 3) & (random.random(len(pool)) < 0.5)  # among others that are like them
    expected = ByHand(pool, taught)
    expected.choose(np.flatnonzero(strange), strange, 8)
    expected.choose(np.flatnonzero(~strange), np.where(strange, 0, doubts(scores)), 7)
    assert rows(suggest(pool, 15, taught=taught, scores=scores, strange=strange)) == expected.chosen
    (single,) = suggest(pool, 1, taught=taught, scores=scores, strange=strange)
    assert single.why == "stranger"


def test_a_frame_is_uncertain_where_its_best_scores_are_nearer_than_a_half() -> None:
    pool, _ = kinds(3, 1, noise=0.0)
    scores = np.array([[0.7, 0.3], [0.25, 0.75], [0.8, 0.2]], np.float32)
    found = {one.row: one.why for one in suggest(pool, 3, scores=scores)}
    assert found == {0: "uncertain", 1: "typical", 2: "typical"}


def test_of_frames_that_are_alike_the_doubtful_ones_come_first() -> None:
    pool, truth = kinds(4, 15)
    taught, _ = kinds(4, 2, seed=7)
    scores = sure_of(truth, 4)
    doubtful = truth == 2
    scores[doubtful] = [0.05, 0.05, 0.47, 0.43]
    found = suggest(pool, 5, taught=taught, scores=scores)
    assert (truth[rows(found)] == 2).all()
    assert {one.why for one in found} == {"uncertain"}


def test_without_a_model_each_kind_is_named_before_any_twice() -> None:
    pool, truth = kinds(5, 12, noise=0.3)
    found = suggest(pool, 5)
    assert sorted(truth[rows(found)]) == [0, 1, 2, 3, 4]
    assert {one.why for one in found} == {"typical"}


def test_a_kind_that_has_labels_can_wait() -> None:
    pool, truth = kinds(5, 12, noise=0.3)
    taught, of = kinds(5, 4, seed=7, noise=0.3)
    found = suggest(pool, 2, taught=taught[of < 3])
    assert sorted(truth[rows(found)]) == [3, 4]


def test_a_frame_that_stands_for_many_is_worth_more_than_one_that_stands_alone() -> None:
    crowd, _ = kinds(1, 30, noise=0.3)
    alone, _ = kinds(6, 1, first=1)
    pool = np.concatenate([alone, crowd])
    assert suggest(pool, 1)[0].row >= len(alone)


def test_doubt_about_others_is_a_reason_too() -> None:
    """The one that is sure, in the middle of a doubtful crowd, is typical of it; it is not itself uncertain."""
    crowd, _ = kinds(1, 20, noise=0.6)
    middle = crowd.mean(axis=0, keepdims=True)
    away, _ = kinds(3, 10, seed=3, first=1)
    pool = np.concatenate([middle, crowd, away])
    scores = np.full((len(pool), 2), 0.5, np.float32)
    scores[0] = scores[21:] = [0.99, 0.01]
    (found,) = suggest(pool, 1, scores=scores)
    assert found == Suggestion(0, "typical")


def test_near_duplicates_are_not_suggested() -> None:
    pool, _ = kinds(6, 4, noise=1.0)
    random = np.random.default_rng(1)
    again = np.abs(pool[:10] * (1 + random.normal(0, 0.01, (10, pool.shape[1])))).astype(np.float32)
    everything = np.concatenate([pool, again])
    found = rows(suggest(everything, 100))
    assert len(found) == len(set(found)) == len(pool)
    assert {row if row < len(pool) else row - len(pool) for row in found} == set(range(len(pool)))
    assert set(rows(suggest(everything, 100, taught=pool[:8]))) <= set(range(8, len(everything))) - {
        24 + n for n in range(8)
    }
    assert suggest(pool, 5, taught=pool) == []


def test_strangers_come_first_and_take_half_while_there_are_others() -> None:
    pool, truth = kinds(4, 15, noise=1.0)
    strange = truth == 3
    taught, of = kinds(3, 5, seed=7)
    assert set(of) == {0, 1, 2}
    found = suggest(pool, 10, taught=taught, scores=sure_of(truth, 4, margin=0.3), strange=strange)
    assert [one.why == "stranger" for one in found] == [True] * 5 + [False] * 5
    assert strange[rows(found)].tolist() == [True] * 5 + [False] * 5
    everything = suggest(pool, 1000, strange=strange)
    assert [one.why == "stranger" for one in everything] == sorted((strange[rows(everything)]).tolist(), reverse=True)
    assert sorted(rows(everything)) == list(range(60))
    only = suggest(pool[strange], 10, strange=np.ones(15, bool))
    assert [one.why for one in only] == ["stranger"] * 10


def test_frames_that_no_training_learns_from_are_not_suggested_but_their_doubt_counts() -> None:
    crowd, _ = kinds(1, 20, noise=0.3)
    alone, _ = kinds(3, 3, seed=2, first=1)
    pool = np.concatenate([alone, crowd])
    teaching = np.ones(len(pool), bool)
    teaching[len(alone) : -1] = False
    assert suggest(pool, 1, teaching=teaching)[0].row == len(pool) - 1
    assert set(rows(suggest(pool, 100, teaching=teaching))) == set(np.flatnonzero(teaching))


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_as_many_as_were_asked_for(count: int) -> None:
    pool, _ = kinds(3, 4)
    found = suggest(pool, count, scores=np.ones((12, 1), np.float32))
    assert len(found) == len(set(rows(found))) == min(count, 12)


def test_an_empty_pool_and_blank_frames() -> None:
    pool, _ = kinds(2, 3)
    assert suggest(pool[:0], 5, taught=pool) == []
    assert len(suggest(np.zeros((3, 4), np.float32), 5)) >= 1
