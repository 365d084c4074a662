"""Joules of a frame and of a right answer: from the files of an INA3221 to the report's columns."""

from dataclasses import replace

import numpy as np
import pytest

from edged.lab.energy import energy_of_run_mj
from edged.lab.selection.evaluation import play, summary
from edged.selection.strategy import Single
from edged.types import Reading
from tests.lab.selection.synthetic import COSTS_MS, measurements
from tests.selection.rails import Rails, read_trace


class Recorded:
    """Sensors of a TX2 that takes what the trace says, at the moment that the clock shows."""

    name = "tegra"

    def __init__(self, rails, samples, now):
        self.rails, self.samples, self.now = rails, samples, now

    def read(self):
        return Reading(power_mw={"VDD_IN": self.rails.read(self.samples[min(int(self.now[0] * 10), 199)])})

    def close(self):
        pass


def test_the_energy_of_a_run_is_power_times_its_time(tmp_path):
    now = [0.0]

    def run():
        now[0] += 0.04

    samples = read_trace()["inception_v3"]
    sensors = Recorded(Rails(tmp_path / "root"), samples, now)
    found = energy_of_run_mj(run, sensors, clock=lambda: now[0])
    assert found == pytest.approx(np.mean(samples[:20]) * 0.04, rel=0.02)  # mW · s


def test_the_power_of_what_ran_before_does_not_count():
    """jtop's service tells what it has read once a second."""
    now = [0.0]

    class Late:
        name = "jtop"

        def read(self):
            return Reading(power_mw={"VDD_IN": 15_000 if int(now[0]) < 1 else 5000})

        def close(self):
            pass

    def run():
        now[0] += 0.02

    assert energy_of_run_mj(run, Late(), clock=lambda: now[0]) == pytest.approx(5000 * 0.02, rel=0.02)


def test_without_power_there_is_no_energy():
    class Blind:
        name = "host"

        def read(self):
            return Reading()

        def close(self):
            pass

    now = [0.0]

    def run():
        now[0] += 0.5

    assert energy_of_run_mj(run, Blind(), clock=lambda: now[0]) is None


def test_millijoules_of_a_frame_and_of_a_right_answer():
    measured = replace(measurements(100), energy_mj=np.array(COSTS_MS) * 5)  # 5 W
    assert measured.power_mw == pytest.approx(5000)
    row = summary("large", "single", play(Single(2), 0, measured, 0.0), measured, [2])
    assert row["energy_mj"] == pytest.approx(200)
    assert row["energy_per_right_mj"] == pytest.approx(200 / row["top1"], rel=1e-3)


def test_decisions_take_energy_too(tmp_path):
    measured = replace(measurements(50), energy_mj=np.array(COSTS_MS) * 5)

    class Slow(Single):
        def overhead_ms(self, runs, feature_ms, decision_ms):
            return 10.0

    assert play(Slow(0), 0, measured, 0.0).energy_mj == pytest.approx(np.full(50, 1 * 5 + 10 * 5))
