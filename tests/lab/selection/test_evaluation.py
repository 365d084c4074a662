"""The numbers of the report's rows, by hand: who is right, what it costs, who answered."""

from dataclasses import replace

import numpy as np
import pytest

from edged.lab.selection.evaluation import (
    Outcome,
    Played,
    decision_ms,
    paired_difference,
    play,
    play_oracle,
    summary,
)
from edged.lab.selection.measurements import Measurements, folds
from edged.selection.features import FEATURES
from edged.selection.strategy import Single
from tests.lab.selection.synthetic import measurements


def scored(*rows: list[float], classes: list[int], **fields) -> Measurements:
    """One network's scores of some photos."""
    count = len(classes)
    made = Measurements(
        networks=("only",),
        scores=np.array([rows], np.float32),
        classes=np.array(classes),
        features=np.arange(count * len(FEATURES), dtype=np.float32).reshape(count, -1),
        network_ms=np.array([3.0]),
        feature_ms=dict.fromkeys(FEATURES, 0.1),
        memory_mb=np.array([5.0]),
        energy_mj=None,
        sources=np.array([""] * count),
    )
    return replace(made, **fields)


def outcome(top1: list[bool], cost_ms: list[float], network: list[int], **fields) -> Outcome:
    count = len(top1)
    made = Outcome(
        np.array(top1), np.array(top1), np.array(cost_ms), np.array(network), np.zeros(count), np.array([""] * count)
    )
    return replace(made, **fields)


def test_of_equal_scores_the_lower_class_is_the_better_one():
    equal = [0.1] * 10
    found = play(Single(0), 0, scored(equal, equal, equal, equal, classes=[0, 1, 4, 5]), 0.0)
    assert found.top1.tolist() == [True, False, False, False]
    assert found.top5.tolist() == [True, True, True, False]


def test_the_best_five_are_five():
    row = [0.3, 0.2, 0.15, 0.13, 0.12, 0.1]
    found = play(Single(0), 0, scored(*[row] * 6, classes=[0, 1, 2, 3, 4, 5]), 0.0)
    assert found.top1.tolist() == [True] + [False] * 5
    assert found.top5.tolist() == [True] * 5 + [False]


def test_a_played_network_costs_its_time_and_energy_and_gives_its_scores():
    measured = replace(measurements(20), energy_mj=np.array([2.0, 7.0, 90.0]))
    look = Played(measured, 3)
    assert (look.runs, look.network_ms, look.energy_mj) == (0, 0.0, 0.0)
    assert look.run(1).tolist() == measured.scores[1, 3].tolist()
    look.run(2)
    assert (look.runs, look.network_ms, look.energy_mj) == (2, 44.0, 97.0)
    assert look.features(["hue2", "contrast"]).tolist() == [
        measured.features[3, FEATURES.index("hue2")], measured.features[3, FEATURES.index("contrast")]
    ]  # fmt: skip


def test_what_deciding_takes_is_added_to_time_and_energy():
    class Deciding(Single):
        def overhead_ms(self, runs, feature_ms, decision_ms):
            return 100 * runs + 10 * feature_ms["hue1"] + decision_ms

    measured = replace(measurements(10), energy_mj=np.array([1.0, 4.0, 40.0]) * 2)
    found = play(Deciding(1), 0, measured, 0.5)
    assert found.cost_ms == pytest.approx(np.full(10, 4 + 100 + 1 + 0.5))
    assert found.energy_mj == pytest.approx(np.full(10, 8 + 101.5 * 2)), "at the mean power of the networks, 2 W"
    assert found.sources.tolist() == measured.sources.tolist()


def test_an_oracle_takes_what_the_chosen_network_gives():
    measured = replace(measurements(60), energy_mj=np.array([1.0, 4.0, 40.0]))
    found = play_oracle(measured)
    singles = [play(Single(n), 0, measured, 0.0) for n in range(3)]
    for photo in range(60):
        right = [n for n in range(3) if measured.right[n, photo]]
        chosen = right[0] if right else 0
        assert found.network[photo] == chosen
        assert found.top5[photo] == singles[chosen].top5[photo]
        assert found.energy_mj[photo] == measured.energy_mj[chosen]
        assert found.cost_ms[photo] == measured.network_ms[chosen]
    assert found.sources.tolist() == measured.sources.tolist()


def test_outcomes_of_folds_are_joined_in_their_order():
    one, two = play(Single(0), 0, measurements(4), 0.0), play(Single(2), 0, measurements(6, seed=1), 0.0)
    joined = Outcome.join([one, two])
    for name in ("top1", "top5", "cost_ms", "network", "energy_mj", "sources"):
        assert getattr(joined, name).tolist() == [*getattr(one, name).tolist(), *getattr(two, name).tolist()], name


def test_the_difference_is_of_pairs_and_its_sign_is_ours():
    ours, single = np.array([False] * 3 + [True] * 7), np.array([True] * 10)
    found = paired_difference(ours, single)
    half = 1.96 * np.sqrt(3 - 9 / 10) / 10
    assert (found["gained"], found["lost"], found["difference"]) == (0, 3, -0.3)
    assert (found["low"], found["high"]) == (round(-0.3 - half, 4), round(-0.3 + half, 4))
    of_seven = paired_difference(np.arange(7) < 5, np.arange(7) < 3)
    assert (of_seven["difference"], of_seven["low"], of_seven["high"]) == (0.2857, -0.0489, 0.6204)
    same = paired_difference(single, single)
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0, "gained": 0, "lost": 0}


def test_a_decision_is_timed_for_each_network_that_runs(monkeypatch):
    class Twice(Single):
        def classify(self, look, point):
            assert point == 7
            look.run(0)
            clock.now += durations[look.photo]
            return look.run(self.network), self.network

    class Clock:
        now = 0

        def perf_counter_ns(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr("edged.lab.selection.evaluation.time", clock)
    durations = [10_000_000] * 20 + [4_000_000] * 40
    assert decision_ms(Twice(1, default=7), measurements(60)) == 2.0, (
        "the median of the first 50: 4 ms for two networks"
    )
    durations = [10_000_000] * 26 + [4_000_000] * 34
    assert decision_ms(Twice(1, default=7), measurements(60)) == 5.0
    assert decision_ms(Twice(1, default=7), measurements(4)) == 5.0


def test_a_row_by_hand():
    measured = replace(measurements(4), memory_mb=np.array([5.06, 10.0, 40.0]), energy_mj=np.array([1.0, 4.0, 40.0]))
    found = outcome(
        [True, False, True, False, False, False, True],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.12349],
        [0, 2, 2, 2, 2, 0, 2],
        top5=np.array([True, True, True, False, True, False, True]),
        energy_mj=np.array([1.0, 2.0, 3.0, 4.006, 1.0, 1.0, 5.0]),
        sources=np.array(["b", "a", "a", "", "a", "b", "b"]),
    )
    assert summary("it", "learned", found, measured, [0, 2]) == {
        "name": "it",
        "kind": "learned",
        "top1": 0.4286,
        "top5": 0.7143,
        "mean_ms": 4.446,
        "p95_ms": 10.123,
        "mix": {"small": 0.2857, "large": 0.7143},
        "memory_mb": 45.1,
        "energy_mj": 2.43,
        "energy_per_right_mj": 5.67,
        "top1_by_source": {"a": 0.3333, "b": 0.6667},
    }


def test_without_power_or_sources_a_row_has_neither():
    found = outcome([False] * 20, [float(n) for n in range(20, 0, -1)], [1] * 20, sources=np.array(["a"] * 19 + [""]))
    row = summary("it", "single", found, measurements(4), [1])
    assert {"energy_mj", "energy_per_right_mj", "top1_by_source"}.isdisjoint(row)
    assert (row["p95_ms"], row["memory_mb"], row["mix"]) == (19.0, 10.0, {"medium": 1.0})
    watts = replace(measurements(4), energy_mj=np.ones(3))
    never_right = summary("it", "single", replace(found, energy_mj=np.full(20, 3.0)), watts, [1])
    assert never_right["energy_per_right_mj"] == 60.0, "of all, where none was right"


def test_the_power_of_the_machine_is_energy_over_time():
    measured = replace(measurements(4), energy_mj=np.array([5.0, 10.0, 30.0]))
    assert measured.power_mw == pytest.approx(45 / 45 * 1000)
    assert measurements(4).power_mw == 0.0


def test_the_best_network_is_the_cheapest_of_the_most_accurate():
    measured = measurements(50)
    again = replace(measured, scores=measured.scores[[0, 2, 2]])
    assert again.best == 1
    assert again.top1[1] == again.top1[2] == again.right[1].mean()


def test_some_photos_keep_what_belongs_to_them():
    measured = measurements(10)
    some = measured.take(np.array([7, 2]))
    assert len(some) == 2
    assert some.scores[:, 0].tolist() == measured.scores[:, 7].tolist()
    assert some.classes.tolist() == measured.classes[[7, 2]].tolist()
    assert some.features[1].tolist() == measured.features[2].tolist()
    assert some.sources.tolist() == measured.sources[[7, 2]].tolist()


def test_every_photo_is_held_out_once():
    parts = folds(23, 5, 3)
    assert sorted(np.concatenate([held_out for _, held_out in parts]).tolist()) == list(range(23))
    for training, held_out in parts:
        assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(23))
        assert len(held_out) in (4, 5)
    assert [part[1].tolist() for part in folds(23, 5, 3)] == [part[1].tolist() for part in parts]
    assert [part[1].tolist() for part in folds(23, 5, 4)] != [part[1].tolist() for part in parts]
    assert len(folds(3, 10, 0)) == 3
