import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.camera.pace import OBSERVED_FRAMES, START_MARGIN_S, LatestStart, Pace, backoff_s


def test_backoff_doubles_up_to_its_cap() -> None:
    assert [backoff_s(attempt, 1.0) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_backoff_is_fully_jittered(attempt: int, dice: float) -> None:
    assert 0 <= backoff_s(attempt, dice) <= 30
    assert backoff_s(attempt, dice) == pytest.approx(dice * backoff_s(attempt, 1.0))


def accepted(fps: float, arrivals_s: list[float]) -> int:
    pace = Pace(fps)
    count = 0
    for now_s in arrivals_s:
        if pace.wait_s(now_s) == 0:
            pace.advance(now_s)
            count += 1
    return count


def test_no_limit() -> None:
    assert accepted(0, [n / 30 for n in range(300)]) == 300


@pytest.mark.parametrize("fps", [1, 7, 15, 29, 30])
def test_a_camera_of_30_fps_is_thinned_to_the_rate(fps: float) -> None:
    jitter = [0.004 * (-1) ** n for n in range(900)]
    assert accepted(fps, [n / 30 + jitter[n] for n in range(900)]) == pytest.approx(30 * fps, abs=2)


def test_a_pause_is_not_made_up_for() -> None:
    pace = Pace(10)
    pace.advance(0.0)
    assert pace.wait_s(0.0) == pytest.approx(0.1)
    pace.advance(5.0)
    assert pace.wait_s(5.0) == pytest.approx(0.1)


def test_a_late_frame_does_not_slow_the_schedule() -> None:
    pace = Pace(10)
    pace.advance(0.0)
    pace.advance(0.15)
    assert pace.wait_s(0.15) == pytest.approx(0.05)


def test_a_frame_is_begun_as_late_as_the_quickest_turn_and_the_slowest_reading_allow():
    ahead = LatestStart()
    assert ahead.wait_s(0.0) == 0.0
    for number in range(OBSERVED_FRAMES + 1):
        ahead.taken(number * 0.1 + (0.02 if number % 5 == 0 else 0.0))  # turns of 0.08 to 0.12 s
        ahead.worked(0.03 if number % 4 == 0 else 0.01)
    taken = OBSERVED_FRAMES * 0.1
    assert ahead.wait_s(taken) == pytest.approx(0.08 - 0.03 - START_MARGIN_S, abs=1e-6)
    assert ahead.wait_s(taken + 0.04) == pytest.approx(0.01 - START_MARGIN_S, abs=1e-6)
    assert ahead.wait_s(taken + 0.2) == 0.0


def test_a_network_that_is_quicker_than_reading_is_never_kept_waiting():
    ahead = LatestStart()
    for number in range(OBSERVED_FRAMES + 1):
        ahead.taken(number * 0.002)
        ahead.worked(0.005)
    assert ahead.wait_s(OBSERVED_FRAMES * 0.002) == 0.0
