"""A training after one more image: what it takes over, what it computes, and when it computes everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.reports import DoubtfulImage, DoubtfulLabels, TrainingReport
from edged.learning import Outcome, Progress, TrainingRequest
from edged.learning.comparison import LeftOut
from edged.learning.pipeline import train
from edged.learning.recipe import Recipe
from edged.learning.step import PARTS
from edged.store import read_bundle
from edged.vision.familiarity import Familiarity
from edged.vision.network import HeadNetwork
from tests.albums import LABELS, picture, put
from tests.learning.conftest import request_for

COUNT = 3 * 36


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> TrainingRequest:
    """A first training of 108 pictures: one more is less than 1 %, and ten test images can tell 20 points."""
    request = request_for(tmp_path_factory.mktemp("taught"), images=36, batch=16, epochs=40, tolerance=0.2)
    outcome = train(request, quiet)
    assert outcome.bundle is not None
    return replace(request, current=outcome.bundle, run="next")


@pytest.fixture
def request_(taught: TrainingRequest, tmp_path: Path) -> TrainingRequest:
    """The same on a copy."""
    shutil.copytree(taught.state_dir, tmp_path / "state")
    assert taught.current is not None
    return replace(taught, state_dir=tmp_path / "state", current=tmp_path / "state" / "versions" / taught.current.name)


def quiet(_: Progress) -> None:
    pass


def add(request: TrainingRequest, label: str, seed: int, shows: str = "") -> Path:
    return put(request.state_dir / "images" / label / f"{seed:04}.jpg", picture(shows or label, seed))


def report_of(request: TrainingRequest) -> TrainingReport:
    assert request.current is not None
    return TrainingReport.model_validate(read_bundle(request.current).manifest.training)


def forbid_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever computes what a step takes over fail."""
    for name in ("make_head", "cross_validate", "doubtful_labels", "learning_curve", "familiarity_of"):
        monkeypatch.setattr(f"edged.learning.pipeline.{name}", None)


def after(request: TrainingRequest, outcome: Outcome) -> TrainingRequest:
    assert outcome.bundle is not None, outcome.error
    return replace(request, current=outcome.bundle)


def test_one_more_image_is_a_step_and_the_report_says_what_it_took_over(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, old = report_of(request_), request_.current
    assert old is not None
    add(request_, "discs", 500)
    with monkeypatch.context() as patch:
        forbid_the_rest(patch)
        told: list[Progress] = []
        outcome = train(request_, told.append)
    assert outcome.status == "succeeded", outcome.error
    report = outcome.report
    assert report.taken_over is not None
    assert (report.taken_over.version, report.taken_over.images) == (old.name, 1)
    assert report.taken_over.parts == PARTS
    assert report.spot_checks == 3
    assert (report.training, report.calibration) == (before.training, before.calibration)
    assert report.accuracy is not None
    assert before.accuracy is not None
    assert report.accuracy.cross_validated == pytest.approx(before.accuracy.cross_validated, abs=1 / COUNT)
    assert report.accuracy.validation is None
    assert report.learning_curve is not None
    assert all(point.taken_over for point in report.learning_curve.points)
    assert report.decision is not None
    assert (report.decision.verdict, report.decision.made_again) == ("promoted", False)
    assert report.decision.images in (report.splits["test"], report.splits["test"] - 1)
    assert list(dict.fromkeys(one.stage for one in told)) == [
        "scan", "bottlenecks", "training", "export", "evaluation", "writing",
    ]  # fmt: skip
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)
    assert outcome.bundle is not None

    new = read_bundle(outcome.bundle)
    known, more = (Familiarity.decode(read_bundle(one).read_familiarity() or b"") for one in (old, outcome.bundle))
    assert (len(more.exemplars), len(more.held_out)) == (len(known.exemplars) + 1, len(known.held_out) + 1)
    assert more.head is not None
    assert known.head is not None
    assert not np.array_equal(more.head.weights, known.head.weights)
    kept, then = (LeftOut.decode(read_bundle(one).read_left_out() or b"") for one in (outcome.bundle, old))
    assert kept is not None
    assert then is not None
    taught, earlier = new.read_taught() or {}, read_bundle(old).read_taught() or {}
    assert len(taught) == len(earlier) + 1 == COUNT + 1
    assert kept.made_of == ""
    assert kept.answers.shape == (len(then.answers), COUNT + 1)
    assert (kept.answers == LABELS.index("discs")).sum() >= (then.answers == LABELS.index("discs")).sum()

    # Beyond 1 % of all images everything is computed again, and so it is where nothing has come.
    request = after(request_, outcome)
    again = train(replace(request, run="again", out=request.state_dir / "again"), quiet)
    assert again.report.taken_over is None
    add(request, "stripes", 501)
    second = train(replace(request, run="second"), quiet)
    assert second.report.taken_over is None
    assert second.report.accuracy is not None
    assert second.report.accuracy.validation is not None


def test_a_step_makes_the_head_of_all_its_images(request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit = Recipe.fit

    def watched(self: Recipe, features: Any, labels: Any, **more: Any) -> Any:
        seen.append(len(labels))
        return fit(self, features, labels, **more)

    monkeypatch.setattr(Recipe, "fit", watched)
    add(request_, "discs", 500)
    splits = train(request_, quiet).report.splits
    assert seen == [splits["train"] + splits["validation"]]


def test_a_step_answers_as_a_training_that_computes_everything(request_: TrainingRequest) -> None:
    """Of the same images: what the exported files say of the test side, and how sure they are of it."""
    add(request_, "discs", 500)
    step = train(request_, quiet)
    whole = train(replace(request_, current=None, run="whole", out=request_.state_dir / "whole"), quiet)
    assert step.report.taken_over is not None
    assert whole.report.taken_over is None
    bundles = [read_bundle(one.bundle) for one in (step, whole) if one.bundle is not None]
    kept = [LeftOut.decode(one.read_left_out() or b"") for one in bundles]
    assert kept[0] is not None
    assert kept[1] is not None
    np.testing.assert_array_equal(kept[0].tested, kept[1].tested)
    taught = Familiarity.decode(bundles[0].read_familiarity() or b"").exemplars
    scores = [HeadNetwork(one.read_model()).scores(taught) for one in bundles]
    assert len(taught) > COUNT
    # A third of the epochs makes 2e-4 of it, a wrong temperature 8e-4 and more; as they are it is 6e-5.
    assert np.abs(scores[0] - scores[1]).mean() < 1.5e-4
    assert bundles[0].read_taught() == bundles[1].read_taught()


@pytest.mark.parametrize("spoiled", [1, 10_000])
def test_a_bad_head_is_not_promoted_by_a_step(
    request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch, spoiled: int
) -> None:
    """The exported file shows it; everything is computed, and that model is judged for itself."""
    fit, made = Recipe.fit, []

    def bad(self: Recipe, features: Any, labels: Any, **more: Any) -> Any:
        made.append(1)
        head = fit(self, features, labels, **more)
        return replace(head, weights=-head.weights) if len(made) <= spoiled else head

    monkeypatch.setattr(Recipe, "fit", bad)
    add(request_, "discs", 500)
    outcome = train(request_, quiet)
    assert outcome.status == ("succeeded" if spoiled == 1 else "rejected")
    assert outcome.report.taken_over is None
    assert len(made) > 1


def corrected(request: TrainingRequest) -> None:
    file = request.state_dir / "images" / "discs" / "0000.jpg"
    put(request.state_dir / "images" / "stripes" / "moved.jpg", file.read_bytes())
    file.unlink()


def removed(request: TrainingRequest) -> None:
    add(request, "discs", 500)
    (request.state_dir / "images" / "discs" / "0001.jpg").unlink()


def a_new_label(request: TrainingRequest) -> None:
    for seed in range(5):
        put(request.state_dir / "images" / "more" / f"{seed}.jpg", picture("discs", 700 + seed))


def two_more(request: TrainingRequest) -> None:
    add(request, "discs", 500)
    add(request, "checks", 501)


def forgotten(request: TrainingRequest) -> None:
    assert request.current is not None
    add(request, "discs", 500)
    file = request.current / "left_out.json"
    told = json.loads(file.read_bytes())
    del told["tested"]  # as a version that is older than steps has it
    file.write_text(json.dumps(told))


def another_recipe(request: TrainingRequest) -> TrainingRequest:
    add(request, "discs", 500)
    return replace(request, hyperparameters=request.hyperparameters.model_copy(update={"lr": 0.05}))


def more_demanding(request: TrainingRequest) -> TrainingRequest:
    add(request, "discs", 500)
    return replace(request, hyperparameters=request.hyperparameters.model_copy(update={"tolerance": 0.02}))


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (corrected, True), (removed, False), (a_new_label, False), (two_more, False), (forgotten, False),
        (another_recipe, False), (more_demanding, False),
    ],
)  # fmt: skip
def test_what_is_a_step(
    request_: TrainingRequest,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[TrainingRequest], TrainingRequest | None],
    step: bool,
) -> None:
    class EverythingIsComputed(Exception):  # noqa: N818 - no error
        pass

    def compute(*_: Any, **__: Any) -> None:
        raise EverythingIsComputed

    request = change(request_) or request_
    monkeypatch.setattr("edged.learning.pipeline.make_head", compute)
    if not step:
        with pytest.raises(EverythingIsComputed):
            train(request, quiet)
        return
    assert train(request, quiet).report.taken_over is not None


def test_a_new_image_with_a_wrong_label_is_named_and_a_confirmed_one_no_more(request_: TrainingRequest) -> None:
    add(request_, "discs", 500, shows="checks")
    assert request_.current is not None
    manifest = request_.current / "manifest.json"
    content = json.loads(manifest.read_text())
    content["training"]["doubtful"] = DoubtfulLabels(
        images=(DoubtfulImage(id="f" * 16, file="other.jpg", label="discs", looks_like="stripes", confidence=0.9),),
        number=1,
        share=0.02,
        judged=COUNT,
    ).to_json()
    manifest.write_text(json.dumps(content))
    doubtful = train(request_, quiet).report.doubtful
    assert doubtful is not None
    assert [(one.file, one.label, one.looks_like) for one in doubtful.images] == [
        ("0500.jpg", "discs", "checks"), ("other.jpg", "discs", "stripes"),
    ]  # fmt: skip
    assert doubtful.number == 2


@pytest.mark.parametrize("tested", [[1], [[1, 1]], [1.5, 2.5], ["a", "b"], [40_000, 1]])
def test_damaged_answers_are_not_taken(tested: Any) -> None:
    kept = LeftOut("", 5, np.array([[0, 1]], np.int16), np.array([-1, 1], np.int16))
    told = json.loads(kept.encode())
    read = LeftOut.decode(json.dumps(told).encode())
    assert read is not None
    assert read.tested is not None
    assert read.tested.tolist() == [-1, 1]
    assert LeftOut.decode(json.dumps({**told, "tested": tested}).encode()) is None
