"""What is worse, what is not, and what cannot be told: numbers in, verdict out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from edged.ctl.rollout.verdict import Accuracy, Limits, Measured, Sample, Verdict, ends, judge, judge_accuracy

GOOD = Sample(fps=20.0, p95_ms=30.0, familiarity=0.5, unknown=0.02)


def verdict(before: Sequence[Sample], after: Sequence[Sample], **limits: float) -> Verdict:
    return judge(Measured.of(before), Measured.of(after), Limits(**limits))


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({}, ()),
        ({"p95_ms": 37.0}, ()),
        ({"p95_ms": 38.0}, ("latency p95 30.0 → 38.0 ms",)),
        ({"p95_ms": 3.0}, ()),
        ({"fps": 16.5}, ()),
        ({"fps": 15.5}, ("20.0 → 15.5 frames/s",)),
        ({"fps": 0.0, "p95_ms": None, "familiarity": None, "unknown": None}, ("20.0 → 0.0 frames/s",)),
        ({"familiarity": 0.41}, ()),
        ({"familiarity": 0.39}, ("familiarity 50% → 39%",)),
        ({"unknown": 0.11}, ()),
        ({"unknown": 0.13}, ("unknown 2% → 13% of the frames",)),
        ({"p95_ms": 60.0, "unknown": 0.9}, ("latency p95 30.0 → 60.0 ms", "unknown 2% → 90% of the frames")),
    ],
)
def test_each_measure_has_its_limit(change: dict[str, float], worse: tuple[str, ...]) -> None:
    assert verdict([GOOD] * 5, [GOOD._replace(**change)] * 5).worse == worse


def test_limits_can_be_set() -> None:
    slower = [GOOD._replace(p95_ms=38.0)] * 5
    assert verdict([GOOD] * 5, slower, slower=0.5).worse == ()
    assert verdict([GOOD] * 5, slower, slower=0.1).worse
    strange = [GOOD._replace(familiarity=0.39)] * 5
    assert verdict([GOOD] * 5, strange, unfamiliar=0.2).worse == ()


def test_a_fast_network_is_not_slower_for_a_part_of_a_millisecond() -> None:
    fast = GOOD._replace(p95_ms=1.0)
    assert verdict([fast] * 5, [fast._replace(p95_ms=1.9)] * 5).worse == ()
    assert verdict([fast] * 5, [fast._replace(p95_ms=2.1)] * 5).worse


def test_one_slow_moment_is_not_held_against_a_model() -> None:
    after = [GOOD] * 9 + [GOOD._replace(p95_ms=900.0, fps=1.0, familiarity=0.0, unknown=1.0)] * 3
    assert verdict([GOOD] * 9, after).worse == ()


def test_a_measure_that_varies_anyway_must_leave_its_range() -> None:
    """The same device, the same model, measured twice: hardly ever is it called worse, however much it varies."""
    dice = random.Random(7)

    def noisy(scale: float) -> list[Sample]:
        return [
            Sample(
                fps=dice.uniform(5, 20),
                p95_ms=30.0 * scale * dice.lognormvariate(0, 0.7),
                familiarity=dice.random(),
                unknown=dice.random() ** 3,
            )
            for _ in range(24)
        ]

    wrong = sum(bool(verdict(noisy(1.0), noisy(1.0)).worse) for _ in range(300))
    right = sum(bool(verdict(noisy(1.0), noisy(4.0)).worse) for _ in range(300))
    assert wrong <= 3
    assert right >= 290


def test_what_cannot_be_compared_is_said() -> None:
    silent = Sample(fps=20.0)
    assert verdict([GOOD] * 5, [GOOD._replace(familiarity=None, unknown=None)] * 5) == (
        (),
        ("familiarity (the new model tells none)",),
    )
    assert verdict([silent] * 5, [silent] * 5) == (
        (),
        ("latency (too few frames were classified)", "familiarity (the old model tells none)"),
    )


def test_too_few_messages_are_no_pass() -> None:
    few = "telemetry messages with the new model, 3 are needed"
    assert verdict([GOOD] * 5, [GOOD] * 2).worse == (f"cannot be judged: 2 {few}",)
    assert verdict([GOOD] * 5, []).worse == (f"cannot be judged: 0 {few}",)


def test_a_camera_that_showed_nothing_before_is_not_held_against_a_model() -> None:
    dark = Sample(fps=0.0)
    assert verdict([dark] * 5, [dark] * 5).worse == ()


def test_accuracy_on_labeled_images() -> None:
    def told(after: float, *, beyond: bool = True, **more: object) -> Verdict:
        found = {"images": 200, "before": 0.9, "after": after, "beyond_chance": beyond, **more}
        return judge_accuracy(Accuracy.model_validate(found), Limits())

    assert told(0.88) == told(0.95) == ((), ())
    assert told(0.87) == (("accuracy 90.0% → 87.0% on 200 test images",), ())
    assert told(0.87, beyond=False) == (
        (),
        ("accuracy (90.0% → 87.0% on 200 test images: too few to tell from chance)",),
    )
    assert told(0.5, unknown=("wasp", "bee")).worse == (
        "accuracy 90.0% → 50.0% on 200 test images; it does not know wasp, bee",
    )
    assert judge_accuracy(Accuracy(why="no image"), Limits()) == ((), ("accuracy (no image)",))
    assert judge_accuracy(Accuracy(), Limits()).unjudged


def test_one_canary_ends_a_roll_out_and_one_of_many_does_not() -> None:
    assert ends(1, 20, canaries=True)
    assert not ends(0, 1, canaries=True)
    assert not ends(2, 20, canaries=False)
    assert ends(3, 20, canaries=False)
    assert ends(1, 9, canaries=False)
    assert not ends(0, 0, canaries=False)
