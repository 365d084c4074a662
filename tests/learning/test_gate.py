"""When a new model may take the place of the one that answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edged.learning.gate import (
    Compared,
    TestSide,
    Verdict,
    decide,
    estimate,
    fallen_labels,
    file_drop,
    mean_recall,
    more_images,
)

TestSide.__test__ = False  # pytest takes it for a test by its name


def outcomes(both: int, lost: int, won: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """New and old model's correctness."""
    new = np.repeat([True, False, True, False], [both, lost, won, neither])
    old = np.repeat([True, True, False, False], [both, lost, won, neither])
    return new, old


def compared(both: int, lost: int, won: int, neither: int = 0, labels: Any = None) -> Compared:
    """Both models on images that all stand alone."""
    new, old = (one.astype(float) for one in outcomes(both, lost, won, neither))
    own = np.zeros(len(new), np.intp) if labels is None else labels
    return sides(own, new, old, new, old)


def sides(labels: Any, new: Any, old: Any, new_free: Any, old_free: Any, fresh: Any = None) -> Compared:
    """Both models on images that all stand alone; `fresh`: only the new one was made of them."""
    groups = [str(number) for number in range(len(new))]
    strange = np.zeros(len(new), bool) if fresh is None else fresh
    return Compared(groups, labels, ("daisy", "rose"), new, old, new_free, old_free, strange)


def swapped(known: int, *, fresh: int) -> Compared:
    """Both models are right on all images but two: of those that both were made of each has one to itself."""
    new, old = np.ones(known + fresh), np.ones(known + fresh)
    new[0] = old[1] = 0
    return sides(np.zeros(len(new), np.intp), new, old, new, old, np.arange(len(new)) >= known)


def judge(accuracy: float | None = 0.9, recall: float | None = 0.9, **rest: Any) -> Verdict:
    return decide(accuracy, recall, 5, **{"min_accuracy": 0.5, "tolerance": 0.02, **rest})


def test_what_is_too_bad_is_refused_whatever_it_replaces() -> None:
    for nothing in ((None, None), (0.9, None), (None, 0.9)):
        assert judge(*nothing).verdict == "refused"
    low = judge(0.33, 0.33)
    assert (low.verdict, low.reason) == ("refused", "accuracy 33.0% is under min_accuracy 50.0%")
    constant = judge(0.9, 0.2)
    assert constant.verdict == "refused"
    assert "no better than the same answer for every image" in constant.reason


def test_without_a_current_model_enough_is_enough() -> None:
    assert judge().verdict == "promoted"
    assert judge(0.5, 0.5).verdict == "promoted", "as good as min_accuracy is not under it"
    assert judge(0.9, 0.21).verdict == "promoted", "the same answer for every image has a mean recall of a fifth"


def test_where_no_image_can_compare_the_two_the_current_model_stays() -> None:
    nothing = judge(compared=compared(0, 0, 0))
    assert (nothing.verdict, nothing.more_images) == ("undecided", 83)
    assert "label new images" in nothing.reason


def test_images_that_only_the_new_model_was_made_of_never_decide_alone() -> None:
    new, old = (one.astype(float) for one in outcomes(90, 0, 10))
    alone = judge(compared=sides(np.zeros(100, np.intp), new, old, new, old, np.ones(100, bool)))
    assert alone.verdict == "undecided"
    assert alone.reason.startswith("100.0% against the current model's 90.0% on 100 labeled images")


def test_the_model_that_answers_now_is_promoted_however_few_images_there_are() -> None:
    assert judge(compared=compared(8, 0, 0), same=True).verdict == "promoted"


@pytest.mark.parametrize(
    ("both", "lost", "won", "verdict"),
    [
        (3, 3, 0, "undecided"),  # 100 → 50 % on 6 images, which nothing called significant before
        (14, 4, 0, "refused"),  # 90 → 70 % on 20 images
        (90, 0, 0, "promoted"),
        (60, 0, 0, "undecided"),
        (180, 10, 10, "undecided"),
        (900, 10, 10, "promoted"),
        (180, 3, 15, "promoted"),
        (180, 15, 3, "refused"),
        (213, 8, 2, "undecided"),  # surely worse, and perhaps by less than the tolerance
        (5000, 60, 10, "promoted"),  # surely worse, and surely by less than the tolerance
        (900, 60, 20, "refused"),
    ],
)
def test_better_worse_and_too_few_to_tell(both: int, lost: int, won: int, verdict: str) -> None:
    decided = judge(compared=compared(both, lost, won, 2))
    assert decided.verdict == verdict, decided.reason
    assert decided.difference is not None
    assert decided.difference.mean == pytest.approx((won - lost) / (both + lost + won + 3))
    assert decided.difference.low < decided.difference.mean < decided.difference.high
    assert decided.previous == pytest.approx((both + lost) / (both + lost + won + 2))
    assert (decided.more_images is not None) is (verdict == "undecided")
    assert "\n" not in decided.reason


def test_a_greater_tolerance_promotes_more() -> None:
    pair = compared(180, 10, 10)
    assert judge(compared=pair).verdict == "undecided"
    assert judge(compared=pair, tolerance=0.06).verdict == "promoted"
    assert judge(compared=compared(5000, 60, 10), tolerance=0.0).verdict == "refused"


@pytest.mark.parametrize(
    ("both", "lost", "won", "verdict"),
    [(180, 10, 10, "promoted"), (100, 20, 20, "promoted"), (50, 6, 3, "refused"), (52, 5, 4, "promoted")],
)
def test_the_images_that_would_decide_are_enough(both: int, lost: int, won: int, verdict: str) -> None:
    first = judge(compared=compared(both, lost, won))
    assert first.verdict == "undecided"
    assert "allowed is -2.0%" in first.reason
    assert first.more_images is not None

    def after(share: float) -> str:
        times = 1 + share * first.more_images / (both + lost + won)
        return judge(compared=compared(*(round(number * times) for number in (both, lost, won)))).verdict

    assert (after(1.2), after(0.6)) == (verdict, "undecided")


@pytest.mark.parametrize(("lost", "won", "never"), [(8, 3, "refused"), (12, 3, "promoted")])
def test_what_is_allowed_is_refused_on_no_number_of_images_and_what_is_not_promoted_on_none(
    lost: int, won: int, never: str
) -> None:
    """Of 300 images: 1.7 points worse, of which 2 are allowed, and 3 points."""
    verdicts = [
        judge(compared=compared(*(times * number for number in (300 - lost - won, lost, won)))).verdict
        for times in (1, 2, 4, 8, 30, 100)
    ]
    assert never not in verdicts
    assert verdicts[0] == "undecided"
    assert verdicts[-1] == ("promoted" if never == "refused" else "refused")


def test_the_images_that_are_asked_for_have_two_digits_and_are_never_none() -> None:
    decided = estimate(np.array([-1.0] * 4 + [0.0] * 16), [str(number) for number in range(20)])
    assert more_images(decided, 0.02) == 1
    assert more_images(None, 0.0) == 1700, "for a difference of 0.1 points, the finest that is looked for"
    even = estimate(np.zeros(100), [str(number) for number in range(100)])
    assert more_images(even, 0.0) == 27_000, "100 · (1.645 / 101 / 0.001)², less those that are there"


def test_near_duplicates_count_as_one_image() -> None:
    differences = np.repeat([0.0, 1.0, -1.0], [90, 5, 5])
    alone = estimate(differences, [str(number) for number in range(100)])
    bursts = estimate(differences, [str(number // 5) for number in range(100)])
    assert bursts.mean == alone.mean
    assert bursts.error > 2 * alone.error


def test_what_all_images_agree_on_is_as_sure_as_the_one_that_is_added() -> None:
    agreed = estimate(np.full(99, -0.5), [str(number) for number in range(99)])
    assert (agreed.mean, agreed.error) == (pytest.approx(-0.495), pytest.approx(0.01))


def test_chance_passes_the_interval_as_rarely_as_it_says() -> None:
    random = np.random.default_rng(0)
    groups = [str(number) for number in range(200)]
    passed = np.zeros(2)
    for _ in range(2000):
        differences = random.choice([-1.0, 0.0, 1.0], 200, p=[0.06, 0.9, 0.04])
        one = estimate(differences, groups)
        passed += [one.low > -0.02, one.high < -0.02]
    assert (passed / 2000 < 0.07).all()
    assert (passed / 2000 > 0.03).all()


def test_a_label_whose_recall_falls_too_far_is_named() -> None:
    labels = np.repeat([0, 1], [15, 400])
    new, old = np.ones(415), np.ones(415)
    new[:8] = 0
    pair = sides(labels, new, old, new, old)
    assert [name for name, _ in fallen_labels(pair)] == ["daisy"]
    decided = judge(compared=pair)
    assert decided.verdict == "refused"
    assert "daisy by 53%" in decided.reason
    new[:6] = 1  # 2 of 15: neither by more than 20 points nor beyond noise
    assert fallen_labels(pair) == ()
    few = sides(np.zeros(3, np.intp), np.zeros(3), np.ones(3), np.zeros(3), np.ones(3))
    assert fallen_labels(few) == (), "three images are not beyond noise"


@pytest.mark.parametrize(("lost", "falls"), [(15, False), (20, False), (21, True), (30, True)])
def test_a_recall_may_fall_by_20_points(lost: int, falls: bool) -> None:
    new = np.where(np.arange(100) < lost, 0.0, 1.0)
    pair = sides(np.ones(100, np.intp), new, np.ones(100), new, np.ones(100))  # and there is no image of a daisy
    assert [name for name, _ in fallen_labels(pair)] == (["rose"] if falls else [])


def test_of_labels_that_fall_the_worst_comes_first() -> None:
    labels = np.repeat([0, 1], 100)
    new = np.where(np.arange(200) % 100 < np.where(labels == 0, 30, 60), 0.0, 1.0)
    assert fallen_labels(sides(labels, new, np.ones(200), new, np.ones(200))) == (("rose", 0.6), ("daisy", 0.3))


def test_a_fall_is_that_among_all_labels_and_the_difference_that_among_shared_ones() -> None:
    right, wrong = np.ones(100), np.zeros(100)
    labels = np.zeros(100, np.intp)
    taken_by_a_new_label = sides(labels, right, right, wrong, right)
    assert judge(compared=taken_by_a_new_label).fallen == (("daisy", 1.0),)
    assert judge(compared=sides(labels, right, right, right, right)).verdict == "promoted"


def test_fresh_images_help_where_those_that_both_were_made_of_do_not_contradict() -> None:
    labels, fresh = np.zeros(300, np.intp), np.arange(300) >= 60
    right = np.ones(300)
    assert judge(compared=sides(labels[:60], right[:60], right[:60], right[:60], right[:60])).verdict == "undecided"
    assert judge(compared=sides(labels, right, right, right, right, fresh)).verdict == "promoted"
    gained = np.where(fresh, 0.0, 1.0)  # the old model knows none of the fresh images: they may show anything
    lost = np.where(np.arange(300) < 3, 0.0, 1.0)  # and the new one loses some of the others
    decided = judge(compared=sides(labels, lost, gained, lost, gained, fresh))
    assert decided.verdict == "undecided"
    assert decided.difference is not None
    assert decided.difference.images == 60
    one_each = judge(compared=swapped(60, fresh=2000))
    assert one_each.verdict == "undecided", "one lost and one won of 60 may still hide a loss of more than 2 points"
    assert judge(compared=swapped(100, fresh=2000)).verdict == "promoted"
    worse, before = np.ones(1000), np.ones(1000)
    worse[:6] = before[6] = 0  # of 400 that both were made of: less than is allowed, but beyond chance
    contradicted = judge(compared=sides(np.zeros(1000, np.intp), worse, before, worse, before, np.arange(1000) >= 400))
    assert contradicted.verdict == "undecided", "fresh images do not outweigh a loss that is no chance"
    only = judge(compared=sides(labels, right, gained, right, gained, np.ones(300, bool)))
    assert only.verdict == "undecided", "praise from images that may show anything is not enough"


@pytest.mark.parametrize(
    ("lost", "won", "noise"),
    [
        (0, 0, True),
        (0, 30, True),
        (1, 0, True),
        (10, 10, True),
        (4, 0, True),  # P(B ≥ 4 | 4) = 6.25 %
        (5, 0, False),  # P(B ≥ 5 | 5) = 3.1 %
        (19, 11, True),  # P(B ≥ 19 | 30) = 10 %
        (20, 10, False),  # P(B ≥ 20 | 30) = 4.94 %
        (1500, 1500, True),  # without overflow
    ],
)
def test_a_file_that_does_worse_than_chance_explains_is_refused(lost: int, won: int, noise: bool) -> None:
    pair = TestSide(*outcomes(600, lost, won, 50))
    assert (file_drop(pair, "the current one") is None) is noise
    assert (judge(file=pair).verdict == "promoted") is noise
    assert (judge(head=pair).verdict == "promoted") is noise
    assert file_drop(TestSide(np.zeros(0, bool), np.zeros(0, bool)), "the current one") is None


def test_the_mean_recall_counts_every_label_alike() -> None:
    assert mean_recall(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1])) == 0.5
    assert mean_recall(np.array([1.0, 1.0, 0.0, 0.5]), np.array([0, 0, 1, 2])) == 0.5
    assert mean_recall(np.zeros(0), np.zeros(0, np.intp)) is None
