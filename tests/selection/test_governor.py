import pytest

from edged.selection.governor import Budget, Governor, Measured, hottest, total_power_mw
from edged.types import Reading

COSTS = (5.0, 10.0, 20.0, 40.0)


def test_without_a_budget_it_stays_where_it_was_fitted_to_be():
    governor = Governor(COSTS, 2, Budget())
    assert governor.step(Measured(500.0, 9e4, 99.0, throttled=False), 0) == 2
    assert (governor.state, governor.reason) == ("normal", "within budget")


def test_a_mean_time_is_kept_from_the_start():
    governor = Governor(COSTS, 3, Budget(max_mean_ms=21))
    assert governor.point == 2
    assert governor.state == "normal"
    assert governor.reason == "max_mean_ms = 21"
    assert Governor(COSTS, 3, Budget(max_mean_ms=1)).point == 0
    assert Governor(COSTS, 3, Budget(max_mean_ms=1)).reason == "max_mean_ms = 1: even the cheapest point takes 5.0 ms"
    assert Governor(COSTS, 3, Budget(max_mean_ms=40)).point == 3
    assert Governor(COSTS, 3, Budget(max_mean_ms=20)).point == 2, "a limit may be reached"


def test_heat_moves_down_step_by_step_and_back_with_hysteresis():
    governor = Governor(COSTS, 3, Budget(max_temp_c=80))
    assert governor.step(Measured(temp_c=84), 0) == 2
    assert governor.state == "reduced"
    assert governor.reason == "temp_c 84 > 80"
    assert governor.step(Measured(temp_c=84), 1) == 2, "it waits for the last move to show"
    assert governor.step(Measured(temp_c=84), 4.9) == 2
    assert governor.step(Measured(temp_c=84), 5) == 1
    assert governor.reason == "temp_c 84 > 80"
    assert governor.step(Measured(temp_c=80), 15) == 1, "the limit itself is not exceeded"
    assert governor.step(Measured(temp_c=75.1), 60) == 1, "just below the limit is no reason to go back"
    assert governor.step(Measured(temp_c=75), 70) == 2
    assert governor.reason == "recovering"
    assert governor.step(Measured(temp_c=74), 99.9) == 2, "one step at a time"
    assert governor.step(Measured(temp_c=74), 100) == 3
    assert (governor.state, governor.reason) == ("normal", "within budget")


def test_the_cheapest_point_is_the_end():
    governor = Governor(COSTS, 1, Budget(max_temp_c=80))
    assert governor.step(Measured(temp_c=90), 0) == 0
    assert governor.reason == "temp_c 90 > 80"
    assert governor.step(Measured(temp_c=90), 100) == 0
    assert governor.reason == "temp_c 90 > 80; the cheapest point runs already"


def test_throttling_counts_without_any_budget():
    governor = Governor(COSTS, 3, Budget())
    assert governor.step(Measured(throttled=True), 0) == 2
    assert governor.reason == "throttled"
    assert governor.step(Measured(throttled=False), 10) == 2
    assert governor.step(Measured(throttled=False), 31) == 3


def test_a_slow_machine_gets_no_dearer_point_than_it_can_afford():
    governor = Governor(COSTS, 2, Budget(max_mean_ms=25))
    assert governor.step(Measured(mean_ms=40), 0) == 1  # everything takes twice as long
    assert governor.step(Measured(mean_ms=20), 100) == 1, "the next point would take 40 ms"
    assert governor.step(Measured(mean_ms=12.6), 150) == 1, "25.2 ms"
    assert governor.step(Measured(mean_ms=12.5), 200) == 2
    governor.step(Measured(throttled=True), 300)
    assert governor.step(Measured(), 400) == 2, "without frames nothing says that it would be too slow"


def test_too_much_power_lowers_the_level_bit_by_bit_and_then_pauses():
    governor = Governor(COSTS, 2, Budget(max_power_mw=5000))
    assert (governor.level, governor.pauses) == (2.0, 0.0)
    governor.step(Measured(power_mw=6000), 0)
    assert governor.level == pytest.approx(2 - 4 * 0.2)
    assert (governor.state, governor.reason) == ("reduced", "max_power_mw = 5000")
    for second in range(100):
        governor.step(Measured(power_mw=6000), second)
    assert governor.level == -0.98
    assert governor.pauses == pytest.approx(0.98 / (1 - 0.98))
    assert governor.reason == "max_power_mw = 5000: with pauses"
    for second in range(100):
        governor.step(Measured(power_mw=4000), 100 + second)
    assert (governor.level, governor.pauses, governor.state) == (2.0, 0.0, "normal")
    assert governor.reason == "within budget"


def test_the_level_follows_the_error_of_the_power_and_no_faster_than_for_twice_the_budget():
    governor = Governor(COSTS, 1, Budget(max_power_mw=5000))
    governor.step(Measured(power_mw=5750), 0)
    assert governor.level == pytest.approx(1 - 4 * 0.15)
    assert (governor.pauses, governor.reason) == (0.0, "max_power_mw = 5000")
    governor.step(Measured(power_mw=6000), 1)
    assert governor.level == pytest.approx((0.4 / 4 - 0.2) * 0.25), "what is left of the error goes into pauses"
    assert governor.pauses == pytest.approx(0.025 / 0.975)
    assert governor.reason == "max_power_mw = 5000: with pauses"
    governor.step(Measured(power_mw=90_000), 2)
    assert governor.level == pytest.approx(-0.025 - 0.25)
    governor.step(Measured(power_mw=0), 3)
    assert governor.level == pytest.approx(-0.025)
    governor.step(Measured(power_mw=0), 4)
    assert governor.level == 1.0


def test_heat_forbids_what_power_would_allow():
    governor = Governor(COSTS, 3, Budget(max_power_mw=5000, max_temp_c=80))
    governor.step(Measured(power_mw=3000, temp_c=85), 0)
    assert (governor.level, governor.reason) == (2.0, "temp_c 85 > 80")


def test_without_a_power_reading_the_level_is_free():
    governor = Governor(COSTS, 2, Budget(max_power_mw=5000))
    governor.step(Measured(power_mw=9000), 0)
    assert governor.level < 2
    governor.step(Measured(), 5)
    assert governor.level == 2


def test_what_cannot_be_read_forbids_nothing():
    governor = Governor(COSTS, 3, Budget(max_power_mw=1, max_temp_c=1))
    assert governor.step(Measured(), 0) == 3


def test_the_hottest_zone():
    assert hottest(Reading(temp_c={"cpu": 40.0, "gpu": 55.5})) == 55.5
    assert hottest(Reading()) is None


def test_the_rail_of_the_whole_machine_counts_alone():
    assert total_power_mw(Reading(power_mw={"VDD_IN": 4000, "VDD_GPU": 900})) == 4000
    assert total_power_mw(Reading(power_mw={"VDD_CPU": 700, "VDD_GPU": 900})) == 1600
    assert total_power_mw(Reading()) is None
