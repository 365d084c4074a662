"""Which frames are kept: scripted scores, embeddings and clocks."""

from __future__ import annotations

import numpy as np
import pytest

from edged.images import FrameKeeper


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def fresh(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(64, np.float32) ** 4


SURE, OTHER = scores(0.9, 0.1, 0.0), scores(0.1, 0.9, 0.0)


def keeper(**options: float) -> FrameKeeper:
    return FrameKeeper(**{"random_s": 1e12, **options})


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (scores(0.4, 0.2, 0.2), "low score"),
        (scores(0.49, 0.2, 0.2), "low score"),
        (scores(0.5, 0.3, 0.2), None),
        (scores(0.52, 0.48, 0.0), "close call"),
        (scores(0.52, 0.48), "close call"),
        (scores(0.01, 0.44, 0.0, 0.01, 0.54, 0.0), "close call"),
        (scores(0.02, 0.54, 0.02, 0.3, 0.01, 0.11), None),
        (scores(0.57, 0.43), "close call"),
        (scores(0.58, 0.42), None),
        (SURE, None),
        (scores(1.0), None),
    ],
)
def test_the_first_frame(seen: np.ndarray, reason: str | None) -> None:
    assert keeper().consider("main", seen, fresh(0), 10.0) == reason


def test_a_changed_prediction_is_kept_once() -> None:
    keep = keeper()
    reasons = [keep.consider("main", seen, fresh(at), 10.0 * at) for at, seen in enumerate((SURE, SURE, OTHER, OTHER))]
    assert reasons == [None, None, "new prediction", None]
    keep.reset()  # a new model's classes cannot be compared with the old one's
    assert keep.consider("main", SURE, fresh(9), 90.0) is None


def test_cameras_are_apart() -> None:
    keep = keeper()
    unsure = scores(0.4, 0.3, 0.3)
    assert keep.consider("a", unsure, fresh(0), 10.0) == "low score"
    assert keep.consider("b", unsure, fresh(0), 10.1) == "low score"
    assert keep.consider("a", unsure, fresh(1), 10.2) is None


def test_rates_hold_against_a_camera_that_is_always_unsure() -> None:
    keep = FrameKeeper()  # as the daemon makes it
    unsure = scores(0.4, 0.3, 0.3)
    kept = [at / 2 for at in range(14_400) if keep.consider("main", unsure, fresh(at), at / 2)]
    assert min(np.diff(kept)) == 2.0
    assert 164 <= len(kept) <= 165  # two hours and the bucket that was full, less the quarter for what is unknown


def test_what_is_unknown_may_use_the_hours_last_frame() -> None:
    keep = keeper(interval_s=0.0, per_hour=4)
    kept = [bool(keep.consider("main", SURE, fresh(at), 0.0, familiar=False)) for at in range(5)]
    assert kept == [True, True, True, True, False]
    assert not keep.consider("main", SURE, fresh(5), 899.0, familiar=False)
    assert keep.consider("main", SURE, fresh(6), 900.0, familiar=False), "a quarter of an hour: another one"
    known = keeper(interval_s=0.0, per_hour=4)
    assert [bool(known.consider("main", scores(0.4, 0.3), fresh(at), 0.0)) for at in range(4)] == [True] * 3 + [False]


def test_near_duplicates_are_dropped() -> None:
    keep = keeper()
    unsure = scores(0.4, 0.3, 0.3)
    still = fresh(0)
    assert keep.consider("main", unsure, still, 0.0)
    noise = np.random.default_rng(1).normal(0, 0.001, still.shape).astype(np.float32)
    assert [keep.consider("main", unsure, still + noise, 10.0 * at) for at in range(1, 50)] == [None] * 49
    assert keep.consider("main", unsure, fresh(1), 600.0) == "low score"


@pytest.mark.parametrize(("distance", "kept"), [(0.045, False), (0.055, True)])
def test_frames_are_near_duplicates_up_to_a_cosine_distance_of_a_twentieth(distance: float, kept: bool) -> None:
    keep = keeper()
    one, across = np.array([2.0, 0.0, 0.0], np.float32), np.array([0.0, 1.0, 0.0], np.float32)
    other = (1 - distance) * one / 2 + np.sqrt(1 - (1 - distance) ** 2) * across
    assert keep.consider("main", scores(0.4, 0.3), one, 0.0)
    assert bool(keep.consider("main", scores(0.4, 0.3), other, 10.0)) is kept


def test_the_last_64_kept_frames_of_a_camera_are_remembered() -> None:
    keep = keeper(interval_s=0.0, per_hour=1000)
    axes = np.eye(65, dtype=np.float32)
    assert all(keep.consider("main", scores(0.4, 0.3), axes[number], 0.0) for number in range(64))
    assert not any(keep.consider("main", scores(0.4, 0.3), axes[number], 1.0) for number in range(64))
    assert keep.consider("main", scores(0.4, 0.3), axes[64], 2.0)
    assert keep.consider("main", scores(0.4, 0.3), axes[0], 3.0), "the oldest was forgotten for it"
    assert not any(keep.consider("main", scores(0.4, 0.3), axes[number], 4.0) for number in range(2, 65))


def test_a_network_with_another_width_can_take_turns() -> None:
    keep = keeper()
    narrow, wide = np.eye(8, dtype=np.float32)[0], np.eye(16, dtype=np.float32)[0]
    assert keep.consider("main", scores(0.4, 0.3), narrow, 0.0)
    assert not keep.consider("main", scores(0.4, 0.3), narrow, 10.0)
    assert keep.consider("main", scores(0.4, 0.3), wide, 20.0)


def test_what_64_things_showed_before_is_remembered() -> None:
    keep = keeper(interval_s=0.0, per_hour=1000)

    def see(thing: int, seen: np.ndarray, now_s: float) -> str | None:
        return keep.consider("main", seen, fresh(int(now_s * 100) + thing), now_s, track=str(thing))

    assert [see(thing, SURE, 0.0) for thing in range(64)] == [None] * 64
    assert see(0, OTHER, 1.0) == "new prediction"  # and now it is the one seen last
    assert see(64, SURE, 2.0) is None
    assert see(1, OTHER, 3.0) is None, "forgotten for the thing that was new"
    assert see(0, SURE, 4.0) == "new prediction"


def test_a_trickle_of_random_frames_and_the_same_with_the_same_seed() -> None:
    def run(seed: int, step_s: float) -> list[float]:
        keep = FrameKeeper(seed=seed)
        times = np.arange(0, 100_000, step_s)
        return [float(at) for at in times if keep.consider("main", SURE, fresh(int(at * 10)), float(at))]

    slow, fast = run(0, 40.0), run(0, 10.0)
    assert len(slow) == pytest.approx(167, rel=0.25)
    assert len(fast) == pytest.approx(167, rel=0.25)  # per time, not per frame
    assert run(0, 40.0) == slow
    assert run(1, 40.0) != slow


def test_a_blank_embedding_is_no_error() -> None:
    assert keeper().consider("main", scores(0.3, 0.3), np.zeros(8, np.float32), 0.0) == "low score"


def test_what_is_unknown_is_kept_however_sure_the_network_is() -> None:
    keep = keeper()
    assert keep.consider("main", SURE, fresh(0), 10.0, familiar=False) == "unknown"
    assert keep.consider("main", SURE, fresh(1), 20.0, familiar=True) is None
    assert keep.consider("main", scores(0.4, 0.3, 0.3), fresh(2), 30.0, familiar=False) == "unknown"
    assert keep.consider("main", scores(0.4, 0.3, 0.3), fresh(3), 40.0, familiar=None) == "low score"
    assert keep.consider("main", SURE, fresh(0), 50.0, familiar=False) is None  # it shows what was kept already


def test_the_unknown_finds_room_after_hours_of_doubt_about_the_known() -> None:
    keep = keeper(interval_s=0.0, per_hour=60)
    unsure = scores(0.4, 0.3, 0.3)
    doubtful = [keep.consider("main", unsure, fresh(at), at / 10, familiar=True) for at in range(3000)]
    assert 49 <= doubtful.count("low score") <= 50  # three quarters of the hour's, and what came in five minutes
    unknown = [keep.consider("main", unsure, fresh(5000 + at), 300 + at / 10, familiar=False) for at in range(100)]
    assert 15 <= unknown.count("unknown") <= 17
