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
    [(scores(0.4, 0.2, 0.2), "low score"), (scores(0.52, 0.48, 0.0), "close call"), (SURE, None), (scores(1.0), None)],
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
    keep = keeper(interval_s=2.0, per_hour=60)
    unsure = scores(0.4, 0.3, 0.3)
    kept = [at / 10 for at in range(72_000) if keep.consider("main", unsure, fresh(at), at / 10)]
    assert min(np.diff(kept)) >= 2.0
    assert 110 <= len(kept) <= 181  # two hours, and the bucket that was full


def test_near_duplicates_are_dropped() -> None:
    keep = keeper()
    unsure = scores(0.4, 0.3, 0.3)
    still = fresh(0)
    assert keep.consider("main", unsure, still, 0.0)
    noise = np.random.default_rng(1).normal(0, 0.001, still.shape).astype(np.float32)
    assert [keep.consider("main", unsure, still + noise, 10.0 * at) for at in range(1, 50)] == [None] * 49
    assert keep.consider("main", unsure, fresh(1), 600.0) == "low score"


def test_a_trickle_of_random_frames_and_the_same_with_the_same_seed() -> None:
    def run(seed: int, step_s: float) -> list[float]:
        keep = FrameKeeper(random_s=600, seed=seed)
        times = np.arange(0, 200_000, step_s)
        return [float(at) for at in times if keep.consider("main", SURE, fresh(int(at * 10)), float(at))]

    slow, fast = run(0, 20.0), run(0, 5.0)
    assert len(slow) == pytest.approx(333, rel=0.2)
    assert len(fast) == pytest.approx(333, rel=0.2)  # per time, not per frame
    assert run(0, 20.0) == slow
    assert run(1, 20.0) != slow


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
