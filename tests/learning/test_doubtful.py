"""Labels that look wrong, on Gaussians whose labels are known."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from edged.learning.comparison import places
from edged.learning.doubtful import Doubts, contradictions, doubt, judge_each, likely_wrong
from edged.vision.quantization import Affine

AFFINE = Affine(0.02, 3)
CLASSES, EACH, WIDTH = 4, 40, 48

Labels = NDArray[np.intp]


def photos(seed: int = 0, *, each: int = EACH, apart: float = 1.0) -> tuple[NDArray[np.uint8], Labels, list[str]]:
    """Return features, right labels and groups of their own: blobs of bytes as a rectified network gives them."""
    random = np.random.default_rng(seed)
    centres = np.abs(random.normal(0, apart, (CLASSES, WIDTH)))
    labels = np.repeat(np.arange(CLASSES), each)
    real = np.maximum(centres[labels] + random.normal(0, 0.7, (len(labels), WIDTH)), 0)
    groups = [hashlib.sha256(bytes([seed, number // 256, number % 256])).hexdigest() for number in range(len(labels))]
    return np.clip(np.rint(real / AFFINE.scale) + AFFINE.zero_point, 0, 255).astype(np.uint8), labels, groups


def spoiled(labels: Labels, share: float, seed: int = 1) -> tuple[Labels, Labels]:
    """Return labels of which a share is another one, and which these are."""
    random = np.random.default_rng(seed)
    wrong = random.permutation(len(labels))[: round(share * len(labels))]
    given = labels.copy()
    given[wrong] = (labels[wrong] + random.integers(1, CLASSES, len(wrong))) % CLASSES
    return given, wrong


def test_wrong_labels_come_first_with_the_label_that_they_look_like() -> None:
    features, labels, groups = photos()
    given, wrong = spoiled(labels, 0.05)
    doubts = doubt(judge_each(features, given, groups, classes=CLASSES, affine=AFFINE), given)
    assert set(doubts.ranked()[: len(wrong)]) == set(wrong)
    assert (doubts.looks_like[wrong] == labels[wrong]).all()
    assert doubts.named == len(wrong)
    assert doubts.share == pytest.approx(0.05, abs=0.01)
    assert (doubts.looks_like != given).all()


@pytest.mark.parametrize("apart", [1.0, 0.5])
def test_a_clean_set_has_hardly_any_doubtful_image_however_hard_its_labels_are(apart: float) -> None:
    features, labels, groups = photos(apart=apart)
    scores = judge_each(features, labels, groups, classes=CLASSES, affine=AFFINE)
    if apart < 1:
        assert (scores.argmax(axis=1) != labels).mean() > 0.1  # they are hard to tell apart
    doubts = doubt(scores, labels)
    assert doubts.named <= 1
    assert doubts.share < 0.03


def test_no_image_judges_itself() -> None:
    """Labels that say nothing cannot be told by the others; whoever has seen the label itself could tell it."""
    features, _, groups = photos(apart=0.0)
    labels = np.random.default_rng(2).permutation(np.arange(CLASSES * EACH) % CLASSES)
    scores = judge_each(features, labels, groups, classes=CLASSES, affine=AFFINE)
    assert (scores.argmax(axis=1) == labels).mean() < 0.4


def by_hand(features: NDArray[np.uint8], labels: Labels, groups: list[str], classes: int) -> NDArray[np.float64]:
    """Make the classifier of `judge_each` anew for each group, of all images but those of the group."""
    real = AFFINE.dequantize(features).astype(np.float64)
    points = np.sign(real) * np.sqrt(np.abs(real))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    distances = np.square(points[:, np.newaxis] - points).sum(axis=2)
    kernel = np.exp(-distances / (0.7 * np.median(distances[~np.eye(len(points), dtype=bool)])))
    targets = np.eye(classes)[labels]
    frequent = np.bincount(labels)
    weights = np.minimum(len(labels) / (np.count_nonzero(frequent) * frequent[labels]), 20)
    mean = weights @ targets / weights.sum()
    scores = np.zeros((len(labels), classes))
    for group in set(groups):
        out = np.array([one == group for one in groups])
        own = kernel[~out][:, ~out] + np.diag(0.6 / weights[~out])
        scores[out] = kernel[out][:, ~out] @ np.linalg.solve(own, targets[~out] - mean) + mean
    return scores


@pytest.mark.parametrize(
    "of_each",
    [(8, 8, 8, 8), (70, 20, 1, 0), (97, 1, 0, 0), (30, 0, 9, 5), (1, 1, 0, 0)],
    ids=lambda one: " ".join(map(str, one)),
)
def test_every_score_is_that_of_a_classifier_made_without_the_image_and_its_near_duplicates(
    of_each: tuple[int, ...],
) -> None:
    """Beside the closed form: the same classifier made anew without the group, for each group."""
    features, labels, groups = photos(each=100)
    some = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(of_each)])
    features, labels, groups = features[some], labels[some], [groups[number] for number in some]
    features[:, 0] = 0  # below the zero point: a network without a rectifier has negative numbers too
    if len(some) > 30:
        groups[3] = groups[2]
        groups[9] = groups[30]
    scores = judge_each(features, labels, groups, classes=CLASSES, affine=AFFINE)
    assert scores == pytest.approx(by_hand(features, labels, groups, CLASSES), abs=2e-4)


def test_of_images_in_two_parts_each_part_is_judged_by_itself() -> None:
    features, labels, groups = photos()
    first = places(groups, 1) < 0.5
    parts = judge_each(features, labels, groups, classes=CLASSES, affine=AFFINE, at_once=len(labels) - 1)
    for part in (first, ~first):
        own = [group for group, inside in zip(groups, part, strict=True) if inside]
        alone = judge_each(features[part], labels[part], own, classes=CLASSES, affine=AFFINE)
        assert parts[part] == pytest.approx(alone, abs=1e-5)
    single = judge_each(features[:20], labels[:20], groups[:20], classes=CLASSES, affine=AFFINE, at_once=1)
    assert np.isfinite(single).all(), "some of twenty parts are empty, some have one image"


def test_near_duplicates_do_not_vouch_for_each_other() -> None:
    features, labels, groups = photos()
    burst = [0, 1, 2, 3, 4, 5]
    features[burst] = features[0]
    given = labels.copy()
    given[burst] = 2
    apart = doubt(judge_each(features, given, groups, classes=CLASSES, affine=AFFINE), given)
    for number in burst:
        groups[number] = groups[0]
    together = doubt(judge_each(features, given, groups, classes=CLASSES, affine=AFFINE), given)
    assert set(together.ranked()[: len(burst)]) == set(burst)
    assert (together.looks_like[burst] == 0).all()
    assert not set(apart.ranked()[: len(burst)]) & set(burst)


def most_likely(scores: NDArray[np.float32], labels: Labels) -> tuple[float, NDArray[np.float64], float]:
    """Try all scales and 400 shares; return the greatest likelihood, the odds and the share that it has."""
    count, classes = scores.shape
    shares = np.linspace(1e-3, 0.3, 400)
    best = (-np.inf, np.zeros(0), 0.0)
    for scale in np.geomspace(0.1, 100, 61):
        odds = np.exp(scale * (scores.astype(np.float64) - scores.max()))
        odds /= odds.sum(axis=1, keepdims=True)
        own = odds[np.arange(count), labels][:, np.newaxis]
        told = np.log((1 - shares) * own + shares * (1 - own) / (classes - 1)).sum(axis=0)
        told += 0.5 * np.log(shares * (1 - shares))  # half an image of either kind was seen before any
        place = int(told.argmax())
        best = max(best, (float(told[place]), odds, float(shares[place])), key=lambda one: one[0])
    return best


# From labels that are sure to labels that say nothing; the best scales are at both ends and beside those tried first.
@pytest.mark.parametrize(
    ("apart", "wrong", "seed"),
    [(1.0, 0.05, 0), (2.0, 0, 1), (1.0, 0.05, 1), (0.5, 0, 2), (0.5, 0, 3), (0.3, 0.1, 2), (0.3, 0.1, 3), (0.0, 0, 1)],
)
def test_scale_and_share_are_the_most_likely_ones(apart: float, wrong: float, seed: int) -> None:
    features, labels, groups = photos(seed, apart=apart, each=20)
    given = spoiled(labels, wrong)[0]
    scores = judge_each(features, given, groups, classes=CLASSES, affine=AFFINE)
    _, odds, share = most_likely(scores, given)
    doubts = doubt(scores, given)
    assert doubts.odds == pytest.approx(odds, abs=1e-6)
    assert doubts.share == pytest.approx(share, abs=1e-3 if apart else 0.02)  # any will do where labels say nothing
    own = odds[np.arange(len(given)), given]
    otherwise = doubts.share * (1 - own) / (CLASSES - 1)
    assert doubts.wrong == pytest.approx(otherwise / (otherwise + (1 - doubts.share) * own), abs=1e-6)
    assert likely_wrong(doubts.odds, given, doubts.share) == pytest.approx(doubts.wrong)


def test_labels_are_named_that_are_more_likely_wrong_than_right_the_most_doubtful_first() -> None:
    wrong = np.array([0.1, 0.9, 0.5, 0.51] * 30)
    doubts = Doubts(wrong, np.zeros(120, np.intp), np.zeros((120, 2)), 0.1)
    assert doubts.named == 60
    assert doubts.ranked().tolist() == [number for place in (1, 3, 2, 0) for number in range(place, 120, 4)]


def test_what_a_person_found_right_is_not_doubtful_and_the_others_still_are() -> None:
    features, labels, groups = photos()
    given, wrong = spoiled(labels, 0.05)
    scores = judge_each(features, given, groups, classes=CLASSES, affine=AFFINE)
    before = doubt(scores, given)
    right = np.zeros(len(given), bool)
    right[wrong[:4]] = True
    after = doubt(scores, given, right)
    assert (after.wrong[right] == 0).all()
    assert 0 < after.share < before.share
    assert set(after.ranked()[:4]) == set(wrong[4:])


def test_images_of_a_rare_label_are_not_doubted_for_being_few() -> None:
    features, labels, groups = photos()
    few = np.flatnonzero((labels != 3) | (np.arange(len(labels)) >= len(labels) - 5))
    features, labels, groups = features[few], labels[few], [groups[number] for number in few]
    doubts = doubt(judge_each(features, labels, groups, classes=CLASSES, affine=AFFINE), labels)
    assert doubts.named == 0


def test_many_images_are_judged_in_parts() -> None:
    features, labels, groups = photos()
    given, wrong = spoiled(labels, 0.05)
    whole, parts = (
        judge_each(features, given, groups, classes=CLASSES, affine=AFFINE, at_once=most) for most in (len(labels), 60)
    )
    assert not np.allclose(whole, parts)
    doubts = doubt(parts, given)
    assert len(set(doubts.ranked()[: len(wrong)]) & set(wrong)) >= 0.75 * len(wrong)


def test_the_same_image_again_and_again_and_a_label_without_images_are_no_trouble() -> None:
    features, labels, groups = photos(each=3)
    features[:] = features[0]
    scores = judge_each(features, labels, groups, classes=CLASSES + 1, affine=AFFINE)
    assert np.isfinite(scores).all()
    assert np.isfinite(doubt(scores, labels).wrong).all()


def test_of_one_thing_under_two_labels_the_less_likely_one_is_named() -> None:
    groups = ["a", "a", "b", "c", "c", "c", "d", "d"]
    labels = np.array([0, 1, 0, 2, 2, 1, 0, 1])
    odds = np.full((8, 3), 0.1)
    odds[[0, 1], 1] = 0.8  # the first two look like 1
    nobody = np.zeros(8, bool)
    found = {one.image: (one.looks_like, one.near) for one in contradictions(labels, groups, odds, nobody)}
    assert found == {0: (1, (1,)), 5: (2, (3, 4)), 7: (0, (6,))}  # without a difference the more frequent, the first


def test_of_one_thing_under_two_labels_what_a_person_found_right_is_right() -> None:
    groups, labels, odds = ["a", "a", "b", "b"], np.array([0, 1, 0, 1]), np.full((4, 2), [0.1, 0.9])
    right = np.array([True, False, True, True])
    found = [(one.image, one.looks_like, one.near) for one in contradictions(labels, groups, odds, right)]
    assert found == [(1, 0, (0,))]
