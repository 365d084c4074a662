"""A power budget on the trace of a TX2, read through the files of its INA3221."""

import numpy as np
import pytest

from edged.lab.selection.power_replay import IDLE, PowerRun, run
from edged.selection.governor import Budget, Governor
from tests.selection.rails import Rails, read_trace

POINTS = (
    [("mobilenet_v2", 60.0)],
    [("mobilenet_v2", 60.0), ("resnet50", 60.0)],
    [("mobilenet_v2", 60.0), ("resnet50", 140.0), ("inception_v3", 300.0)],
)
COSTS = [sum(ms for _, ms in point) for point in POINTS]


def power(budget_mw, tmp_path, seconds=600.0):
    governor = Governor(COSTS, 2, Budget(max_power_mw=budget_mw))
    return run(read_trace(), POINTS, governor, seconds=seconds, read=Rails(tmp_path / "root").read)


@pytest.mark.parametrize("budget_mw", [2500, 3200, 4000, 4600, 4800])
def test_a_power_budget_is_kept_within_five_percent(budget_mw, tmp_path):
    found = power(budget_mw, tmp_path)
    minutes = found.window_means_mw(60)
    assert np.abs(minutes / budget_mw - 1).max() < 0.05
    assert found.frames > 100


def test_an_ample_budget_costs_nothing(tmp_path):
    found = power(9000, tmp_path, 120)
    assert found.levels.tolist() == [2.0] * len(found.levels)


def test_a_budget_that_idling_exceeds_is_not_promised(tmp_path):
    found = power(1000, tmp_path, 300)
    idle = float(np.mean(read_trace()[IDLE]))
    assert found.levels[-1] < -0.97
    assert found.window_means_mw(60)[-1] == pytest.approx(idle, rel=0.08)


def test_dearer_budgets_classify_more_or_better(tmp_path):
    less, more = power(2500, tmp_path / "a", 300), power(4000, tmp_path / "b", 300)
    assert less.frames < more.frames
    assert less.joules < more.joules


def test_the_energy_of_a_run_is_that_of_its_samples(tmp_path):
    found = power(4000, tmp_path, 120)
    assert found.joules == pytest.approx(found.power_mw.mean() / 1000 * 120, rel=0.01)


class Fixed:
    """A governor that has made up its mind; notes what it was asked."""

    def __init__(self, level=0.0, pauses=0.0):
        self.level, self.pauses, self.asked = level, pauses, []

    def step(self, measured, now):
        self.asked.append((measured.power_mw, round(now, 2)))


FLAT = {IDLE: [1000.0], "a": [3000.0], "b": [7000.0]}


def test_windows_begin_when_the_first_is_over():
    found = PowerRun(np.arange(10.0), np.zeros(0), 0, 0.0)
    assert found.window_means_mw(0.2).tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert found.window_means_mw(0.5).tolist() == [7.0]


@pytest.mark.parametrize(
    ("level", "pauses", "power_mw", "frames"),
    [
        (0.0, 0.0, 3000.0, 200),  # 50 ms of a
        (1.0, 0.0, 5000.0, 100),  # 50 ms of a, 50 ms of b
        (0.5, 0.0, (50 * 3 + 100 * 5) / 150 * 1000, 133),  # in turn
        (0.0, 1.0, 2000.0, 100),  # as long a pause as work
        (1.0, 3.0, 2000.0, 25),
        (-0.5, 1.0, 2000.0, 100),  # below the cheapest point there are pauses only
    ],
)
def test_a_machine_takes_what_its_states_take(level, pauses, power_mw, frames):
    points = ([("a", 50.0)], [("a", 50.0), ("b", 50.0)], [("b", 50.0)])
    found = run(FLAT, points, Fixed(level, pauses), seconds=10)
    assert len(found.power_mw) == 100
    assert found.power_mw.mean() == pytest.approx(power_mw, rel=0.02)
    assert found.frames == pytest.approx(frames, abs=2)
    assert found.joules == pytest.approx(power_mw / 1000 * 10, rel=0.03)


def test_the_governor_is_asked_every_interval_with_the_mean_of_it():
    governor = Fixed()
    found = run(FLAT, ([("a", 50.0)],), governor, seconds=20, interval_s=5)
    assert [round(at) for _, at in governor.asked] == [5, 10, 15, 20]
    assert [power for power, _ in governor.asked] == pytest.approx([3000.0] * 4)
    assert found.levels.tolist() == [0.0] * 4


def test_the_sensor_is_read_twice_a_second_and_may_say_nothing():
    read = []

    def sensor(milliwatts):
        read.append(milliwatts)

    governor = Fixed()
    run(FLAT, ([("a", 50.0)],), governor, seconds=10, read=sensor)
    assert len(read) == 20
    assert read == pytest.approx([3000.0] * 20)
    assert [power for power, _ in governor.asked] == [None, None]


def test_a_trace_goes_on_and_begins_again():
    found = run({IDLE: [0.0], "a": [1000.0, 2000.0, 3000.0]}, ([("a", 1000.0)],), Fixed(), seconds=1)
    assert found.power_mw.tolist() == pytest.approx([1000.0, 2000.0, 3000.0] * 3 + [1000.0])
