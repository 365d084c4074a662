"""A power budget on the trace of a TX2, read through the files of its INA3221."""

import numpy as np
import pytest

from edged.lab.selection.power_replay import IDLE, run
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
