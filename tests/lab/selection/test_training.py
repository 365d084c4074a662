import json
import random
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from edged.errors import ConfigError, ModelError
from edged.lab.selection import training
from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import play, play_oracle
from edged.lab.selection.report import compose, operating_points, verdict
from edged.selection.files import ARRAYS, MANIFEST, Fitted, load, load_report, save
from edged.selection.premodels import KINDS
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
    held_out, outcomes = training.cross_validate(measured, fitted.decisions_ms, lambda *_: None, parts=3)
    return compose(held_out, fitted, outcomes, how="3-fold", name="default", threads=1)


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
    assert kinds == ["single"] * 3 + ["premodel"] * 5 + ["cascade"] * 2 + ["learned"] * 2 + ["oracle"]
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


def without_sum(folder):
    """Make what was fitted one of an edged that wrote no sum."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({key: value for key, value in manifest.items() if key != "sha256"}))


def damages(sound, seed):
    """Contents with one bit changed, and shorter ones."""
    dice = random.Random(seed)
    for _ in range(150):
        changed = bytearray(sound)
        changed[dice.randrange(len(sound))] ^= 1 << dice.randrange(8)
        yield bytes(changed)
    yield b""
    yield from (sound[: dice.randrange(len(sound))] for _ in range(50))


@pytest.mark.parametrize("file", [MANIFEST, ARRAYS])
def test_a_bit_that_has_changed_is_found(tmp_path, measured, fitted, composed, file):
    report, picture = composed
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    sound = (folder / file).read_bytes()
    for content in damages(sound, file):
        (folder / file).write_bytes(content)
        with pytest.raises(ModelError, match=r"damaged|of another version"):
            load(tmp_path, "default")


@pytest.mark.parametrize("file", [MANIFEST, ARRAYS])
def test_without_a_sum_it_is_damaged_or_read(tmp_path, measured, fitted, composed, file):
    report, picture = composed
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    without_sum(folder)
    assert load(tmp_path, "default").name == "default"
    sound, refused = (folder / file).read_bytes(), 0
    for content in damages(sound, file):
        (folder / file).write_bytes(content)
        try:
            load(tmp_path, "default")
        except ModelError:
            refused += 1
    assert refused > 50


def test_what_an_older_version_fitted_is_refused_in_one_line(tmp_path, measured, fitted, composed):
    report, picture = composed
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "v": 1}))
    with pytest.raises(ModelError, match="of another version of edged; fit it again with `edged premodel train`"):
        load(tmp_path, "default")


def test_pickles_are_not_read(tmp_path, measured, fitted, composed):
    report, picture = composed
    folder = save(make(measured, fitted, report), report, picture, tmp_path)
    without_sum(folder)
    np.savez(folder / ARRAYS, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path, "default")


def test_the_verdict_names_the_learned_strategy_and_the_best_single_network():
    beside = {"difference": 0.01, "low": -0.002, "high": 0.022}
    rows = [
        {"name": "big", "kind": "single", "top1": 0.9, "mean_ms": 90.0},
        {"name": "lucky", "kind": "cascade", "top1": 0.95, "point": "default", "speedup": 4.0, "beside_best": beside},
        {"name": "learned", "kind": "learned", "top1": 0.91, "point": "default", "speedup": 3.0, "beside_best": beside},
        {"name": "x", "kind": "learned", "top1": 0.91, "point": "accurate", "speedup": 0.8, "beside_best": beside},
    ]
    assert verdict(rows) == (
        "learned: +1.0 points of top-1 (95 % interval -0.2 to +2.2) in 3.00 × less time than big, the best single "
        "network; "
        "accurate point: +1.0 points of top-1 (95 % interval -0.2 to +2.2) in 1.25 × the time of it"
    )


def test_cross_validation_compares_the_same_photos():
    """The singles' rows are of the photos in the order in which the strategies met them."""
    measured = measurements(90)
    decisions = dict.fromkeys(tuple(f"premodel {kind}" for kind in KINDS), 0.1)
    decisions |= {"cascade": 0.1, "learned": 0.1}
    held_out, outcomes = training.cross_validate(measured, decisions, lambda *_: None, parts=3)
    last = outcomes["cascade"].points[-1]  # always the last network, which is the best one
    assert last.top1.tolist() == held_out.right[2].tolist()
    assert last.sources.tolist() == held_out.sources.tolist()


def test_folds_are_fitted_without_their_own_photos(monkeypatch):
    """What is fitted for a fold sees none of the photos that it is judged on."""
    measured = measurements(60)
    ids = np.arange(60, dtype=np.float32)
    marked = replace(measured, features=np.column_stack([ids, measured.features[:, 1:]]))
    seen, judged = [], []
    fit, of = training.fit, training.Outcomes.of

    def spy_fit(part, *args):
        seen.append(set(part.features[:, 0].tolist()))
        return fit(part, *args)

    def spy_of(strategy, part, decision):
        judged.append(set(part.features[:, 0].tolist()))
        return of(strategy, part, decision)

    monkeypatch.setattr(training, "fit", spy_fit)
    monkeypatch.setattr(training.Outcomes, "of", spy_of)
    decisions = dict.fromkeys(tuple(f"premodel {kind}" for kind in KINDS), 0.1)
    training.cross_validate(marked, decisions | {"cascade": 0.1, "learned": 0.1}, lambda *_: None, parts=4)
    per_fold = len(judged) // 4
    assert len(seen) == 4
    for fold, fitted_to in enumerate(seen):
        for held_out in judged[fold * per_fold : (fold + 1) * per_fold]:
            assert fitted_to.isdisjoint(held_out)
            assert len(fitted_to) + len(held_out) == 60
    assert set().union(*judged) == set(range(60))


def test_networks_answer_alone_in_a_cascade_and_together_in_the_learned_one():
    measured = measurements(150)
    costs = {**{f"premodel {kind}": 0.1 for kind in KINDS}, "cascade": 3.0, "learned": 5.0}
    for given, (alone_ms, together_ms) in ((None, (0.2, 0.2)), (costs, (3.0, 5.0))):
        fitted = training.fit(measured, decisions_ms=given)
        alone, together = (fitted.strategies[name].cascade for name in ("cascade", "learned"))
        for found, pooled, ms in ((alone, False, alone_ms), (together, True, together_ms)):
            expected = fit_cascade(measured, pooled=pooled, decision_ms=ms)
            assert found.thresholds == expected.thresholds
            assert [(one.network, one.weights) for one in found.stages] == [
                (one.network, one.weights) for one in expected.stages
            ]
        assert not any(weight for stage in alone.stages for weight in stage.weights[:-1])
        assert any(weight for stage in together.stages for weight in stage.weights[:-1])
        if given is None:
            assert fitted.decisions_ms.keys() == costs.keys()
            assert min(fitted.decisions_ms.values()) > 0
        else:
            assert fitted.decisions_ms == given


def test_cross_validation_tells_how_far_it_is():
    decisions = {**{f"premodel {kind}": 0.1 for kind in KINDS}, "cascade": 0.1, "learned": 0.1}
    told = []
    training.cross_validate(measurements(60), decisions, lambda *progress: told.append(progress), parts=3)
    assert told == [("cross-validating", pytest.approx(part / 3)) for part in (1, 2, 3)]
