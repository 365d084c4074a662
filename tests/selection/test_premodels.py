import numpy as np
import pytest

from edged.selection.premodels import BinaryCascade, NearestNeighbours, SupportVectors


def test_neighbours_vote_and_ties_go_to_the_cheapest():
    rows = np.array([[0], [0.1], [0.2], [0.3], [9]], np.float32)
    assert NearestNeighbours(rows, np.array([1, 1, 0, 0, 2], np.int32)).predict(np.zeros(1, np.float32)) == 0
    assert NearestNeighbours(rows, np.array([2, 2, 2, 0, 1], np.int32)).predict(np.zeros(1, np.float32)) == 2


def test_the_five_nearest_vote():
    rows = np.arange(6, dtype=np.float32)[:, np.newaxis]
    assert NearestNeighbours(rows, np.array([0, 0, 1, 1, 1, 0], np.int32)).predict(np.zeros(1, np.float32)) == 1
    random = np.random.default_rng(0)
    rows, targets = random.random((200, 3)).astype(np.float32), random.integers(0, 3, 200).astype(np.int32)
    for row in random.random((50, 3)).astype(np.float32):
        nearest = np.argsort(np.linalg.norm(rows - row, axis=1))[:5]
        assert NearestNeighbours(rows, targets).predict(row) == np.bincount(targets[nearest]).argmax()


def test_the_binary_cascade_takes_the_first_network_that_will_be_right():
    rows = np.repeat(np.array([[0.0], [1.0]], np.float32), 5, axis=0)
    right = np.array([[1] * 5 + [0] * 5], np.int32)
    cascade = BinaryCascade(rows, right, np.array([3, 7], np.int32))
    assert cascade.predict(np.array([0.1], np.float32)) == 3
    assert cascade.predict(np.array([0.9], np.float32)) == 7
    three = BinaryCascade(rows, np.array([[1] * 5 + [0] * 5, [0] * 10], np.int32), np.array([3, 7, 9], np.int32))
    assert three.predict(np.array([0.9], np.float32)) == 9


def test_every_pair_of_classes_has_an_intercept_of_its_own():
    """Four classes, some of them rare, and points everywhere: as scikit-learn decides."""
    pytest.importorskip("sklearn")
    from sklearn.svm import SVC

    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 2))
    targets = np.digitize(rows[:, 0] + 0.3 * random.normal(size=300), [-1.0, 0.5, 1.5]) * 2
    theirs = SVC(gamma=0.7).fit(rows, targets)
    ours = SupportVectors(
        theirs.support_vectors_, theirs.n_support_, theirs.dual_coef_, theirs.intercept_, np.array([0.7]),
        theirs.classes_,
    )  # fmt: skip
    points = random.normal(0, 3, (500, 2))
    assert [ours.predict(point) for point in points] == theirs.predict(points).tolist()
    alone = SupportVectors(*(np.zeros(0),) * 5, np.array([6]))
    assert alone.predict(points[0]) == 6
