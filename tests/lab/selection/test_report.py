"""The report of a selection whose strategies are made by hand, so that every number can be."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from edged.lab.chart import Chart
from edged.lab.selection import training
from edged.lab.selection.evaluation import play, summary
from edged.lab.selection.premodel_fitting import choose_pool
from edged.lab.selection.report import compose, features, operating_points, verdict
from edged.lab.selection.training import Fit, Outcomes
from edged.selection.cascade import Cascade, Stage
from edged.selection.features import FEATURES
from edged.selection.premodels import ExpectedUtility, NearestNeighbours, Premodel
from edged.selection.strategy import ByCascade, ByPremodel, Single
from tests.lab.selection.synthetic import measurements

DECISIONS_MS = {"premodel knn": 0.5, "premodel expected": 0.25, "cascade": 0.125, "learned": 0.0625}


def cascade(thresholds, default, accurate, networks=(0, 2)) -> ByCascade:
    stages = (Stage(networks[0], (1.0,), 1.0), Stage(networks[1], (0.0, 1.0), 1.0))
    return ByCascade(Cascade(stages, thresholds, default, accurate, (0.1,) * len(thresholds), (0.1,), (1.0,)))


@pytest.fixture
def measured():
    return measurements(120)


@pytest.fixture
def fitted() -> Fit:
    """Neighbours that always say the second network; a price that always says the first; two cascades."""
    one = np.zeros((1, 1), np.float32)
    names, zero, unit = ("hue1",), np.zeros(1, np.float32), np.ones(1, np.float32)
    knn = Premodel("knn", names, zero, unit, (0, 1), NearestNeighbours(one, np.array([1], np.int32)))
    utility = ExpectedUtility(
        one,
        np.zeros((1, 2)),
        np.array([0.5, 0.6]),
        np.ones(1),
        np.array([1.0, 40.0]),
        np.array([0, 2], np.int32),
        np.array([1.0, 0.0]),
        np.array([0], np.int32),
    )
    strategies = {
        "premodel knn": ByPremodel(knn),
        "premodel expected": ByPremodel(Premodel("expected", names, zero, unit, (0, 2), utility)),
        "cascade": cascade((np.inf, 0.3, -1.0), 1, 2, (0, 1)),
        "learned": cascade((0.5, -1.0), 0, 1),
    }
    return Fit(strategies, {"hue1": 0.03456, "contrast": -0.01}, DECISIONS_MS)


@pytest.fixture
def outcomes(fitted, measured):
    return training.on_photos(fitted, measured)


def test_an_outcome_is_that_of_the_point_with_its_decisions(fitted, measured, outcomes):
    assert list(outcomes) == list(DECISIONS_MS)
    for name, found in outcomes.items():
        strategy, decision = fitted.strategies[name], DECISIONS_MS[name]
        every = [play(strategy, point, measured, decision) for point in range(strategy.points)]
        assert found.default.cost_ms.tolist() == every[strategy.default].cost_ms.tolist()
        assert found.accurate.cost_ms.tolist() == every[strategy.accurate].cost_ms.tolist()
        assert found.default.top1.tolist() == every[strategy.default].top1.tolist()
        listed = [each.cost_ms.tolist() for each in found.points]
        assert listed == ([] if name == "premodel knn" else [each.cost_ms.tolist() for each in every])


def test_folds_are_joined_point_by_point(fitted, measured):
    halves = [measured.take(np.arange(60)), measured.take(np.arange(60, 120))]
    joined = Outcomes.join([Outcomes.of(fitted.strategies["cascade"], half, 0.125) for half in halves])
    whole = Outcomes.of(fitted.strategies["cascade"], measured, 0.125)
    assert joined.default.cost_ms.tolist() == whole.default.cost_ms.tolist()
    assert joined.accurate.top1.tolist() == whole.accurate.top1.tolist()
    assert [each.network.tolist() for each in joined.points] == [each.network.tolist() for each in whole.points]


def test_the_rows_are_the_singles_the_strategies_and_the_oracle(fitted, measured, outcomes):
    rows = training.rows(measured, fitted, outcomes)
    assert [(row["name"], row["kind"], row.get("point")) for row in rows] == [
        ("small", "single", None),
        ("medium", "single", None),
        ("large", "single", None),
        ("premodel knn", "premodel", "default"),
        ("premodel expected", "premodel", "default"),
        ("cascade", "cascade", "default"),
        ("cascade, accurate", "cascade", "accurate"),
        ("learned", "learned", "default"),
        ("learned, accurate", "learned", "accurate"),
        ("oracle", "oracle", "default"),
    ]
    by_name = {row["name"]: row for row in rows}
    for number, name in enumerate(("small", "medium", "large")):
        single = play(Single(number), 0, measured, 0.0)
        assert by_name[name] == summary(name, "single", single, measured, [number])
    knn = by_name["premodel knn"]
    features_ms = 0.1  # of one group
    assert knn["mean_ms"] == pytest.approx(4.0 + features_ms + 0.5)
    assert knn["speedup"] == pytest.approx(40 / 4.6, abs=1e-3)
    assert knn["beside_best"]["difference"] == pytest.approx(measured.top1[1] - measured.top1[2], abs=1e-4)
    assert (knn["mix"], knn["memory_mb"]) == ({"medium": 1.0}, 15.0), "it may run both of its pool"
    always = by_name["cascade, accurate"]
    assert (always["mean_ms"], always["memory_mb"]) == (pytest.approx(1 + 4 + 0.125), 15.0)
    assert by_name["learned, accurate"]["speedup"] == pytest.approx(40 / 41.0625, abs=1e-3)
    assert by_name["oracle"]["memory_mb"] == 55.0


def test_what_answered_in_a_fold_is_loaded_too(fitted, measured, outcomes):
    """Folds may have chosen other networks than the final fit."""
    other = play(Single(2), 0, measured, 0.0)
    outcomes["cascade"] = replace(outcomes["cascade"], default=other)
    rows = {row["name"]: row for row in training.rows(measured, fitted, outcomes)}
    assert rows["cascade"]["memory_mb"] == 55.0


def test_curves_are_the_points_or_the_default_where_points_differ(fitted, measured, outcomes):
    curves = training.curves(measured, fitted, outcomes)
    assert {name: len(curve) for name, curve in curves.items()} == {
        "premodel knn": 1, "premodel expected": 2, "cascade": 3, "learned": 2
    }  # fmt: skip
    assert [row["mean_ms"] for row in curves["cascade"]][::2] == [pytest.approx(1.125), pytest.approx(5.125)]
    assert {row["kind"] for row in curves["cascade"]} == {"cascade"}
    assert curves["premodel expected"][1]["mix"] == {"large": 1.0}


def test_the_report_says_what_was_measured_and_who_stands_for_each_kind(fitted, measured, outcomes):
    report, picture = compose(measured, fitted, outcomes, how="by hand", name="mine", threads=2)
    assert {key: report[key] for key in ("name", "how", "photos", "threads")} == {
        "name": "mine", "how": "by hand", "photos": 120, "threads": 2
    }  # fmt: skip
    rows = {row["name"]: row for row in report["rows"]}
    better = "premodel knn" if rows["premodel knn"]["top1"] > rows["premodel expected"]["top1"] else "premodel expected"
    assert report["chosen"] == {"premodel": better, "cascade": "cascade", "learned": "learned"}
    assert report["decision_ms"] == DECISIONS_MS
    assert report["verdict"] == verdict(report["rows"])
    assert report["pool"] == [measured.networks[number] for number in choose_pool(measured.right)]
    assert report["features"] == features(measured, fitted)
    texts = list(ET.fromstring(picture).itertext())
    assert "120 photos, 2 threads" in texts
    assert "accurate" in texts
    assert "learned, accurate" not in texts
    _, one = compose(measured, fitted, outcomes, how="by hand", name="mine", threads=1)
    assert "120 photos, 1 thread" in list(ET.fromstring(one).itertext())


def test_of_equally_accurate_premodels_the_quicker_one_stands_for_them(fitted, measured, outcomes):
    slower = replace(outcomes["premodel knn"].default, cost_ms=np.full(120, 500.0))
    outcomes["premodel expected"] = replace(outcomes["premodel knn"], default=slower)
    report, _ = compose(measured, fitted, outcomes, how="", name="", threads=1)
    assert report["chosen"]["premodel"] == "premodel knn"
    outcomes["premodel expected"] = replace(slower_all_right(slower), points=())
    report, _ = compose(measured, fitted, outcomes, how="", name="", threads=1)
    assert report["chosen"]["premodel"] == "premodel expected", "accuracy comes first"


def slower_all_right(outcome) -> Outcomes:
    right = replace(outcome, top1=np.ones(120, bool), top5=np.ones(120, bool))
    return Outcomes(right, right, ())


def test_each_feature_is_told_with_its_cost_its_importance_and_its_use(fitted, measured):
    table = {
        row["name"]: row
        for row in features(replace(measured, feature_ms={**measured.feature_ms, "hue2": 0.12345}), fitted)
    }
    assert list(table) == list(FEATURES)
    assert table["hue1"] == {"name": "hue1", "cost_ms": 0.1, "used": True, "importance": 0.0346}
    assert table["contrast"] == {"name": "contrast", "cost_ms": 0.1, "used": False, "importance": -0.01}
    assert table["hue2"] == {"name": "hue2", "cost_ms": 0.123, "used": False}


def test_the_governor_s_points_are_the_report_s_or_replayed(fitted, measured, outcomes):
    report, _ = compose(measured, fitted, outcomes, how="", name="", threads=1)
    points = operating_points(measured, fitted, report)
    assert list(points) == list(DECISIONS_MS)
    for name in ("premodel expected", "cascade", "learned"):
        assert points[name] == [{"top1": row["top1"], "mean_ms": row["mean_ms"]} for row in report["curves"][name]]
    replayed = [play(fitted.strategies["premodel knn"], point, measured, 0.5) for point in (0, 1)]
    assert points["premodel knn"] == [
        {"top1": float(each.top1.mean()), "mean_ms": float(each.cost_ms.mean())} for each in replayed
    ]


def test_the_verdict_is_beside_the_most_accurate_single_and_of_equal_ones_the_quicker():
    beside = {"difference": -0.12, "low": -0.34, "high": 0.1}
    rows = [
        {"name": "slow", "kind": "single", "top1": 0.9, "mean_ms": 91.0},
        {"name": "quick", "kind": "single", "top1": 0.9, "mean_ms": 90.0},
        {"name": "cheap", "kind": "single", "top1": 0.8, "mean_ms": 1.0},
        {"name": "x", "kind": "learned", "top1": 0.9, "point": "accurate", "speedup": 1.0, "beside_best": beside},
        {"name": "y", "kind": "learned", "top1": 0.9, "point": "default", "speedup": 0.8, "beside_best": beside},
    ]
    assert verdict(rows) == (
        "learned: -12.0 points of top-1 (95 % interval -34.0 to +10.0) in 1.25 × the time of quick, the best single "
        "network; accurate point: -12.0 points of top-1 (95 % interval -34.0 to +10.0) in 1.00 × less time than it"
    )


def test_the_picture_has_a_dot_for_each_row_and_a_line_for_each_curve_in_the_colour_of_its_kind(
    fitted, measured, outcomes, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        "edged.lab.selection.report.Chart", lambda *parts, **size: drawn.append(parts) or Chart(*parts, **size)
    )
    report, _ = compose(measured, fitted, outcomes, how="", name="", threads=1)
    ((_, x, y, series),) = drawn
    assert (x.log, x.percent, y.log, y.percent) == (True, False, False, True)
    lines = [one for one in series if one.line]
    dots = {one.name: one for one in series if not one.line}
    curves = [curve for curve in report["curves"].values() if len(curve) > 1]
    assert len(curves) == 3
    assert [one.points for one in lines] == [[(row["mean_ms"], row["top1"]) for row in curve] for curve in curves]
    assert [one.colour for one in lines] == [dots[curve[0]["kind"]].colour for curve in curves]
    assert list(dots) == ["single", "premodel", "cascade", "learned", "oracle"]
    assert len({one.colour for one in dots.values()}) == 5
    for kind, one in dots.items():
        rows = [row for row in report["rows"] if row["kind"] == kind]
        assert one.points == [(row["mean_ms"], row["top1"]) for row in rows]
        assert list(one.labels) == ["accurate" if "accurate" in row["name"] else row["name"] for row in rows]
