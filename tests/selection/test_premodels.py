import numpy as np

from edged.selection.premodels import BinaryCascade, NearestNeighbours


def test_neighbours_vote_and_ties_go_to_the_cheapest():
    rows = np.array([[0], [0.1], [0.2], [0.3], [9]], np.float32)
    assert NearestNeighbours(rows, np.array([1, 1, 0, 0, 2], np.int32)).predict(np.zeros(1, np.float32)) == 0
    assert NearestNeighbours(rows, np.array([2, 2, 2, 0, 1], np.int32)).predict(np.zeros(1, np.float32)) == 2


def test_the_binary_cascade_takes_the_first_network_that_will_be_right():
    rows = np.repeat(np.array([[0.0], [1.0]], np.float32), 5, axis=0)
    right = np.array([[1] * 5 + [0] * 5], np.int32)
    cascade = BinaryCascade(rows, right, np.array([3, 7], np.int32))
    assert cascade.predict(np.array([0.1], np.float32)) == 3
    assert cascade.predict(np.array([0.9], np.float32)) == 7
