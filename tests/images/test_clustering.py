"""Groups of frames that show the same kind of thing: clusters of points, and the textbook's merging done slowly."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edged.images import group_alike
from edged.images.clustering import average_linkage, directions

WIDTH = 48


def kinds(count: int, each: int, *, seed: int = 0, noise: float = 0.5, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return bottlenecks, never below 0, of `each` frames of `count` kinds, and their kinds, shuffled."""
    centres = np.random.default_rng(99).gamma(1.0, 1.0, (first + count, WIDTH))[first:]
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(count), each))
    return np.abs(centres[labels] + random.normal(0, noise, (len(labels), WIDTH))).astype(np.float32), labels


def by_hand(similarity: np.ndarray, least: float) -> set[frozenset[int]]:
    """Merge the two clusters whose pairs are most alike on average, until none are alike enough: n⁴ steps."""
    clusters = [[row] for row in range(len(similarity))]
    while len(clusters) > 1:
        pairs = [(i, j) for j in range(len(clusters)) for i in range(j)]
        means = [float(similarity[np.ix_(clusters[i], clusters[j])].mean()) for i, j in pairs]
        best = int(np.argmax(means))
        if means[best] < least:
            break
        i, j = pairs[best]
        clusters[i] += clusters.pop(j)
    return {frozenset(cluster) for cluster in clusters}


@pytest.mark.parametrize("least", [-1.0, 0.0, 0.2, 0.5, 0.9, 2.0])
def test_average_linkage_is_the_textbook_s(least: float) -> None:
    random = np.random.default_rng(3)
    pointing = directions(random.normal(0, 1, (40, 6)).astype(np.float32), np.zeros(6, np.float32))
    similarity = pointing @ pointing.T
    found = average_linkage(similarity, least)
    assert {frozenset(rows.tolist()) for rows in found} == by_hand(similarity, least)
    assert all((np.diff(rows) > 0).all() for rows in found)


def test_clusters_are_merged_that_are_just_alike_enough() -> None:
    similarity = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], np.float32)
    assert [rows.tolist() for rows in average_linkage(similarity, 0.5)] == [[0, 1], [2]]
    assert [rows.tolist() for rows in average_linkage(similarity, 0.0)] == [[0, 1, 2]]


def pointing_by_hand(bottlenecks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Directions from the mean of all of them and others."""
    away = bottlenecks - np.concatenate([bottlenecks, others]).mean(axis=0)
    return np.asarray(away / np.sqrt(np.square(away).sum(axis=1))[:, np.newaxis])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_strangers_are_divided_where_pairs_of_taught_labels_are(count: int, seed: int) -> None:
    strangers, _ = kinds(4, 8, seed=seed, noise=1.5, first=5)
    taught, labels = kinds(max(count, 1), 6, seed=seed, noise=1.5)
    taught, labels = (taught, labels) if count else (taught[:0], labels[:0])
    least = 0.2  # where pairs of different labels do not tell it
    if count > 1:
        known = pointing_by_hand(taught, strangers)
        pairs = [(i, j) for i in range(len(known)) for j in range(len(known)) if labels[i] != labels[j]]
        least = float(np.quantile([known[i] @ known[j] for i, j in pairs], 0.95))
    pointing = pointing_by_hand(strangers, taught)
    found = group_alike(strangers, taught, labels)
    assert {frozenset(rows.tolist()) for rows in found} == by_hand(pointing @ pointing.T, least)
    assert 1 < len(found) < len(strangers)


def test_one_kind_each_is_one_group_each() -> None:
    taught, labels = kinds(3, 20)
    strangers, truth = kinds(2, 12, seed=1, first=3)
    groups = group_alike(strangers, taught, labels)
    assert [len(rows) for rows in groups] == [12, 12]
    assert [len(set(truth[rows])) for rows in groups] == [1, 1]
    assert sorted(np.concatenate(groups).tolist()) == list(range(24))


def test_what_is_alike_enough_follows_from_what_is_taught() -> None:
    """Two kinds that differ no more than pairs of one taught label do are one group: the model could not tell them."""
    random = np.random.default_rng(4)
    base, apart = random.gamma(1.0, 1.0, WIDTH), random.normal(0, 0.35, WIDTH)
    near = np.concatenate([base + sign * apart + random.normal(0, 0.2, (10, WIDTH)) for sign in (-1, 1)])
    strangers = np.abs(near).astype(np.float32)
    wide, wide_labels = kinds(4, 15, noise=0.2)
    assert len(group_alike(strangers, wide, wide_labels)) == 1
    fine = np.concatenate([strangers + random.normal(0, 0.02, strangers.shape), strangers]).astype(np.float32)
    assert len(group_alike(strangers, fine, np.tile(np.repeat([0, 1], 10), 2))) >= 2


def test_the_central_one_comes_first_and_the_odd_one_last() -> None:
    random = np.random.default_rng(5)
    centre = random.gamma(1.0, 1.0, WIDTH)
    around = [centre + spread * random.normal(0, 1, WIDTH) for spread in (0.3, 0.3, 0.05, 0.3, 0.3, 0.6)]
    others = random.gamma(1.0, 1.0, (30, WIDTH))
    strangers = np.abs(np.array(around)).astype(np.float32)
    (rows,) = group_alike(strangers, others.astype(np.float32), np.arange(30))
    assert (rows[0], rows[-1]) == (2, 5)


def test_the_same_frames_in_another_order_are_the_same_groups() -> None:
    taught, labels = kinds(3, 10)
    strangers, _ = kinds(3, 9, seed=2, first=3)
    order = np.random.default_rng(0).permutation(len(strangers))
    one = {frozenset(rows.tolist()) for rows in group_alike(strangers, taught, labels)}
    other = {frozenset(order[rows].tolist()) for rows in group_alike(strangers[order], taught, labels)}
    assert one == other


def test_nothing_one_and_equal_frames() -> None:
    taught, labels = kinds(2, 5)
    assert group_alike(taught[:0], taught, labels) == []
    assert [rows.tolist() for rows in group_alike(taught[:1], taught, labels)] == [[0]]
    equal = np.repeat(taught[:1], 4, axis=0)
    assert [rows.tolist() for rows in group_alike(equal, taught, labels)] == [[0, 1, 2, 3]]
    assert [rows.tolist() for rows in group_alike(np.zeros((3, WIDTH), np.float32))] in ([[0], [1], [2]], [[0, 1, 2]])


def test_without_anything_taught_there_are_groups_all_the_same() -> None:
    strangers, truth = kinds(3, 10)
    groups = group_alike(strangers)
    assert sum(len(rows) for rows in groups) == 30
    assert all(len(set(truth[rows])) == 1 for rows in groups)
    assert len(groups) < 10


def test_many_labeled_images_cost_no_more_memory_than_some() -> None:
    """All pairs of 4,000 are 64 MB, and on a device with 20,000 labeled images 1.6 GB."""
    strangers, _ = kinds(3, 10, first=4)
    taught, labels = kinds(4, 1000)
    tracemalloc.start()
    try:
        groups = group_alike(strangers, taught, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6
    some = group_alike(strangers, *kinds(4, 200))
    assert {frozenset(rows.tolist()) for rows in groups} == {frozenset(rows.tolist()) for rows in some}


def test_a_large_group_comes_before_a_small_one_and_equally_large_ones_in_the_order_of_their_first_rows() -> None:
    axes = np.eye(4, dtype=np.float32)
    strangers = axes[[0, 1, 2, 2, 2, 1, 3, 0]] + np.float32(0.5)
    groups = group_alike(strangers)
    assert [sorted(rows.tolist()) for rows in groups] == [[2, 3, 4], [0, 7], [1, 5], [6]]


def test_taught_images_of_one_label_do_not_tell_how_alike_is_alike_enough() -> None:
    random = np.random.default_rng(0)
    strangers = np.repeat(np.eye(8, dtype=np.float32)[:2], 3, axis=0) + np.float32(0.5)
    taught = random.uniform(0, 1, (6, 8)).astype(np.float32)
    for labels in (None, np.zeros(6, np.intp)):
        assert [len(rows) for rows in group_alike(strangers, taught, labels)] == [3, 3]
