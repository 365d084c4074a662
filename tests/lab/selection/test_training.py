import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from edged.errors import ConfigError, ModelError
from edged.lab.selection import training
from edged.lab.selection.evaluation import play, play_oracle
from edged.lab.selection.report import compose, operating_points, verdict
from edged.selection.files import ARRAYS, MANIFEST, Fitted, load, load_report, save
from tests.lab.selection.synthetic import measurements

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def measured():
    return measurements(300)


@pytest.fixture(scope="module")
def fitted(measured):
    return training.fit(measured)


@pytest.fixture(scope="module")
def composed(measured, fitted):
    outcomes = training.cross_validate(measured, fitted.decisions_ms, lambda *_: None, parts=3)
    return compose(measured, fitted, outcomes, how="3-fold", name="default", threads=1)


def make(measured, fitted, report):
    ids = tuple(f"{n:012x}" for n in range(len(measured.networks)))
    points = operating_points(measured, fitted, report)
    return Fitted(
        "default",
        measured.networks,
        ids,
        "abc",
        fitted.strategies,
        report["chosen"],
        fitted.decisions_ms,
        measured.feature_ms,
        points,
    )


def test_the_report_has_a_row_for_everything(composed, measured):
    report, _ = composed
    kinds = [row["kind"] for row in report["rows"]]
    assert kinds == ["single"] * 3 + ["premodel"] * 4 + ["cascade", "learned", "oracle"]
    for row in report["rows"]:
        assert {"name", "kind", "top1", "top5", "mean_ms", "p95_ms", "mix", "memory_mb"} <= set(row)
        assert 0 <= row["top1"] <= row["top5"] <= 1
        assert sum(row["mix"].values()) == pytest.approx(1, abs=1e-3)
        assert set(row["mix"]) <= set(measured.networks)
        assert set(row["top1_by_source"]) == {"a", "b"}
    by_name = {row["name"]: row for row in report["rows"]}
    assert by_name["oracle"]["top1"] >= max(row["top1"] for row in report["rows"] if row["kind"] == "single")
    assert by_name["learned"]["mean_ms"] < by_name["large"]["mean_ms"]
    assert json.loads(json.dumps(report)) == report


def test_no_network_answers_an_oracle_for_less(measured):
    outcome = play_oracle(measured)
    assert outcome.top1.tolist() == measured.right.any(axis=0).tolist()
    cheapest = measured.network_ms[measured.right.argmax(axis=0)]
    assert outcome.cost_ms.tolist() == cheapest.tolist()


def test_premodels_pay_for_their_features(measured, fitted):
    strategy = fitted.strategies["premodel tree"]
    outcome = play(strategy, strategy.default, measured, 0.5)
    networks = measured.network_ms[outcome.network]
    assert (outcome.cost_ms - networks).min() >= 0.5 + 0.1


def test_the_picture_is_xml_with_every_name(composed, measured):
    _, picture = composed
    root = ET.fromstring(picture)
    texts = "".join(root.itertext())
    assert all(name in texts for name in (*measured.networks, "oracle", "learned"))


def test_what_is_kept_decides_as_what_was_fitted(tmp_path, measured, fitted, composed):
    report, picture = composed
    save(make(measured, fitted, report), report, picture, tmp_path)
    save(make(measured, fitted, report), report, picture, tmp_path)  # in place of the first
    kept = load(tmp_path, "default")
    assert load_report(tmp_path, "default") == report
    for name, strategy in fitted.strategies.items():
        for point in range(strategy.points):
            before = play(strategy, point, measured, 0.1)
            after = play(kept.strategies[name], point, measured, 0.1)
            assert np.array_equal(before.network, after.network)
            assert np.array_equal(before.top1, after.top1)
        costs = [each["mean_ms"] for each in kept.points[name]]
        assert len(costs) == strategy.points
    files = sorted(path.name for path in (tmp_path / "premodels" / "default").iterdir())
    assert files == ["arrays.npz", "curve.svg", "manifest.json", "report.json"]


def test_missing_and_damaged_premodels_are_one_line(tmp_path, measured, fitted, composed):
    report, picture = composed
    with pytest.raises(ConfigError, match="no premodel 'other' is fitted here; run `edged premodel train"):
        load(tmp_path, "other")
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    (folder / ARRAYS).write_bytes(b"no arrays")
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path, "default")
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path, "default")


def test_pickles_are_not_read(tmp_path, measured, fitted, composed):
    report, picture = composed
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    np.savez(folder / ARRAYS, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path, "default")


def test_the_verdict_names_the_best_single_network():
    row = {"top5": 1.0, "p95_ms": 1.0}
    rows = [
        {"name": "big", "kind": "single", "top1": 0.9, "mean_ms": 90.0, **row},
        {"name": "learned", "kind": "learned", "top1": 0.91, "mean_ms": 30.0, **row},
    ]
    assert verdict(rows) == "learned: 3.00 × less time than big, the best single network, at +1.00 points of top-1"
    rows[1]["mean_ms"] = 112.5  # slower, and it says so
    assert verdict(rows) == "learned: 1.25 × the time of big, the best single network, at +1.00 points of top-1"
    rows[1]["top1"] = 0.85
    assert verdict(rows) == (
        "no strategy is as accurate as big alone; the nearest, learned, takes 1.25 × the time of it at -5.00 points"
    )
