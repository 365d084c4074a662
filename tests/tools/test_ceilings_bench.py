"""The arithmetic of `tools/bench ceilings`: limits, published measures, oracles, and what the page says of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.learning.bottlenecks import Backbone
from edged.store import read_bundle
from tests.conftest import REPOSITORY

MODEL = REPOSITORY / "models" / "mobilenet_v2"


def test_the_exact_limit_makes_as_many_false_alarms_as_asked_and_no_more() -> None:
    from benchmarks.ceilings import exact_limit

    right = np.random.default_rng(0).permutation(100).astype(float)
    assert [np.count_nonzero(right < exact_limit(right, share)) for share in (0.0, 0.02, 0.05)] == [0, 2, 5]
    few = np.arange(30.0)
    assert np.count_nonzero(few < exact_limit(few, 0.05)) == 1  # 2 of 30 would be more than 5 %


def test_neighbours_are_counted_at_length_1() -> None:
    from benchmarks.outliers import neighbours

    taught = np.array([[2.0, 0.0], [0.0, 0.5]])
    asked = np.array([[7.0, 0.0], [1.0, 1.0]])
    diagonal = -np.sqrt(2 - np.sqrt(2))
    assert neighbours(taught, 1)(asked) == pytest.approx([0.0, diagonal], abs=1e-7)
    assert neighbours(taught, 2)(asked) == pytest.approx([-np.sqrt(2), diagonal])
    assert neighbours(taught, 20)(asked) == pytest.approx([-np.sqrt(2), diagonal])  # there are no more than two


def test_mahalanobis_distances_are_those_of_the_shrunk_covariance_written_out() -> None:
    from benchmarks.outliers import mahalanobis, relative_mahalanobis

    covariance = pytest.importorskip("sklearn.covariance")
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 8)  # fewer photos than features
    taught = random.normal(0, 3, (3, 40))[labels] + random.normal(size=(24, 40)) * np.geomspace(0.2, 4, 40)
    asked = random.normal(0, 4, (10, 40))
    means = np.stack([taught[labels == label].mean(axis=0) for label in range(3)])

    def squared(difference: Any, matrix: Any) -> Any:
        return np.einsum("ij,jk,ik->i", difference, np.linalg.inv(matrix), difference)

    shared, shrunk = covariance.ledoit_wolf(taught - means[labels], assume_centered=True)
    nearest = np.min([squared(asked - mean, shared) for mean in means], axis=0)
    assert mahalanobis(taught, labels)(asked) == pytest.approx(-nearest, rel=1e-6)
    centred = taught - taught.mean(axis=0)
    whole = covariance.shrunk_covariance(centred.T @ centred / 24, shrunk)
    relative = squared(asked - taught.mean(axis=0), whole) - nearest
    assert relative_mahalanobis(taught, labels)(asked) == pytest.approx(relative, rel=1e-6)


def test_every_measure_finds_what_is_far_and_vim_s_two_parts_are_of_one_size() -> None:
    from benchmarks.outliers import Known, measures, vim
    from benchmarks.unknown import auroc

    pytest.importorskip("sklearn")
    random = np.random.default_rng(2)
    labels, things = np.repeat([0, 1, 2], 30), np.kron(np.eye(3), np.ones(60))
    taught, fresh = (6 * things[labels] + random.normal(0, 0.3, (90, 180)) for _ in range(2))
    strange = -3 * things[labels] + 60 * np.eye(180)[7] + random.normal(0, 0.3, (90, 180))
    known = Known(taught, labels, things / 30, np.full(3, -1.0))
    found = {name: auroc(score(fresh), score(strange)) for name, score in measures(known)}
    # All three logits are low there, which the softmax cannot say.
    assert {name for name, area in found.items() if area < 0.99} <= {"highest probability"}
    assert len(found) == 15
    headless = dict(measures(Known(taught, labels)))
    assert set(headless) < set(found)
    logits = taught @ known.weights.T + known.bias  # type: ignore[union-attr]  # it has a head
    energy = np.logaddexp.reduce(logits, axis=1)
    assert (energy - vim(known)(taught)).mean() == pytest.approx(logits.max(axis=1).mean())


def test_kinds_of_a_thousand_labels_are_summed_behind_the_background() -> None:
    from benchmarks.ceilings import of_kinds
    from benchmarks.kinds import KINDS

    logits = np.full((2, 1001), -50.0)
    logits[0, [1 + min(KINDS["dogs"]), 1 + max(KINDS["dogs"])]] = 0.0
    logits[1, 0] = 0.0  # the background is no kind
    assert of_kinds(logits, ["birds", "dogs"]) == pytest.approx(np.array([[0.0, 1.0], [0.0, 0.0]]), abs=1e-12)
    assert of_kinds(logits[:, 1:], ["dogs"])[0] == pytest.approx([1.0])


def test_one_pass_gives_the_bottleneck_the_network_s_own_logits_and_layers() -> None:
    from benchmarks.deep_layers import pass_all
    from edged.codec import decode

    backbone = Backbone.of(read_bundle(MODEL), "auto")
    network = backbone.network()
    files = sorted((REPOSITORY / "edged" / "demo" / "photos").glob("*.jpg"))[:3]
    contents = [file.read_bytes() for file in files]
    passed = pass_all(contents, backbone, [(7, 7, 320), (14, 14, 96)])
    assert passed.ids.tolist() == [hashlib.sha256(content).hexdigest() for content in contents]
    assert {name: layer.shape for name, layer in passed.layers.items()} == {
        "7 × 7 × 320": (3, 320),
        "14 × 14 × 96": (3, 96),
    }
    for content, features, logits in zip(contents, passed.features, passed.logits, strict=True):
        prepared = network.prepare(decode(content, (network.width, network.height), crop=backbone.crop))
        assert (network.embed(prepared) == features).all()
        scores = network.infer(prepared).scores
        own = np.exp(logits - np.logaddexp.reduce(logits))
        assert own == pytest.approx(scores, abs=0.02)
        assert own.argmax() == scores.argmax()


def test_who_knows_the_truth_finds_the_wrong_labels_first() -> None:
    from benchmarks import ceilings, doubtful

    backbone = Backbone.of(read_bundle(MODEL), "auto")
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 40)
    clouds = random.normal(0, 30, (3, backbone.features))[labels] + random.normal(0, 40, (120, backbone.features))
    groups = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in range(120))
    all_ = doubtful.Photos(np.clip(clouds, -128, 127).astype(np.int8), labels, groups, ("a", "b", "c"))
    truth = np.eye(3)[labels]
    found = ceilings._ranked(all_, truth.astype(np.float32), truth, 0, backbone, seed=0)
    assert found == {ceilings.EDGED: 1.0, ceilings.RIGHT_LABELS: 1.0, ceilings.MORE_PHOTOS: 1.0, ceilings.OWN_HEAD: 1.0}
    wrong = np.eye(3)[(labels + 1) % 3]  # sure of another label for every photo: chance at best
    misled = ceilings._ranked(all_, wrong.astype(np.float32), wrong, 0, backbone, seed=0)
    assert misled[ceilings.EDGED] == 1.0
    assert misled[ceilings.OWN_HEAD] < 0.5
    assert misled[ceilings.MORE_PHOTOS] < 0.5


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three blobs of a hundred photos, in the width of the shipped network's bottlenecks, as a task's photos."""
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 100)
    values = random.uniform(0, 255, (3, 1280))[np.repeat([0, 1, 2], 100)] + random.normal(0, 700, (300, 1280))
    groups = [f"{number * 14_316_557:08x}{'f' * 56}" for number in range(300)]  # all splits, all on the report side
    np.savez(
        tmp_path / "suggest-groups.npz", features=np.clip(values, 0, 255).astype(np.uint8), labels=labels, groups=groups
    )
    return tmp_path


def test_published_ways_name_photos_that_teach_and_none_twice(state: Path) -> None:
    from benchmarks import oracle, suggestion

    all_ = suggestion.photos(state, "groups", "report")
    random = np.random.default_rng(4)
    order = random.permutation(300)
    scores = random.dirichlet([1, 1, 1], 250).astype(np.float32)
    choice = suggestion.Choice(all_, order[50:], order[:50], scores, random)
    for name, way in oracle.PUBLISHED.items():
        chosen = way(choice, 20)
        assert len(set(chosen.tolist())) == 20, name
        assert set(chosen.tolist()) <= set(order[50:].tolist())
        assert all_.teaching[chosen].all()
    teaching = np.flatnonzero(all_.teaching[choice.pool])
    flattest = choice.pool[teaching[(scores[teaching] * np.log(scores[teaching])).sum(axis=1).argmin()]]
    assert oracle.entropy(choice, 1).tolist() == [flattest]


def test_the_oracle_takes_the_batch_that_is_best_on_the_photos_that_judge(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import oracle, suggestion

    batches: list[list[np.ndarray]] = []
    candidates = oracle.candidates

    def kept(choice: Any, count: int) -> Any:
        batches.append(candidates(choice, count))
        return batches[-1]

    monkeypatch.setattr(oracle, "candidates", kept)
    points = oracle.learn(state, "report", "groups", oracle.ORACLE, 0)
    assert [labels for labels, _ in points] == [15, 35, 55, 75, 95, 115, 135, 155, 158]
    all_ = suggestion.photos(state, "groups", "report")
    begun = suggestion.start(all_, "groups", 0)
    right = [
        suggestion.share_right(suggestion.head_of(all_, np.concatenate([begun.labeled, batch])), all_, begun.aside)
        for batch in batches[0]
    ]
    assert points[1][1] == max(right) > np.mean(right)
    assert len(batches[0]) == 5 + oracle.RANDOM_BATCHES


def test_random_choice_is_told_from_the_goal_and_from_nearly_the_goal() -> None:
    from benchmarks.oracle import told

    flat = [(20, 0.6), (40, 0.79), (60, 0.79), (80, 0.8)]
    found = told({"random": [flat, flat], "oracle": [[(20, 0.7), (40, 0.8)], [(20, 0.7), (40, 0.84)]]})
    assert found["goal"] == {"labels": 80, "accuracy": 0.8}
    assert found["nearly"] == 40
    assert found["reached"] == {"random": 80, "oracle": 40}


def test_the_best_is_chosen_for_each_limit_and_those_who_know_more_are_not_among_it() -> None:
    from benchmarks import ceilings

    def row(way: str, *shares: float) -> dict[str, Any]:
        passing = {"ImageNet": dict(zip(("0.02", "0.05"), shares, strict=True))}
        return {"network": ceilings.SHIPPED, "set": "flowers", "photos": 30, "way": way, "pass": passing}

    rows = [
        row(ceilings.EDGED, 0.125, 0.06), row("energy", 0.5, 0.04), row("ViM", 0.2, 0.3),
        row("layer 7 × 7 × 320: Mahalanobis", 0.01, 0.01), *(row(way, 0.0, 0.0) for way in ceilings.SHOWN),
    ]  # fmt: skip
    told = "\n".join(ceilings.strangers_table({"strangers": rows}))
    assert "| **edged** | 12.5%, 6.0% | – |" in told
    assert "| **the best of these, chosen afterwards for each cell** | 20.0%, 4.0% | – |" in told
    assert "| layer 7 × 7 × 320, the best of four measures | 1.0%, 1.0% | – |" in told


def test_the_draws_are_those_of_the_pages_that_they_explain() -> None:
    """Where the same thing is measured here and there the numbers are the same."""
    from benchmarks import ceilings

    reports = REPOSITORY / "tools" / "reports"
    numbers, there, suggested = (
        json.loads((reports / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("ceilings", "doubtful", "suggest")
    )
    assert numbers["side"] == "report"
    assert numbers["runs"] == ceilings.RUNS
    for row in numbers["doubtful"]:
        if row["network"] == ceilings.SHIPPED:
            (same,) = (
                one for one in there["rows"]
                if (one["set"], one["per_label"], one["share"], one["changed"])
                == (row["set"], row["per_label"], 0.05, "random")
            )  # fmt: skip
            assert row["found"][ceilings.EDGED][0] == pytest.approx(same["edged"][0], abs=0.02)
    for task, one in numbers["labels"].items():
        assert one["goal"] == suggested["tasks"][task]["goal"]


def test_what_the_page_says_in_words_is_what_the_numbers_say() -> None:
    from benchmarks import ceilings, doubtful, oracle

    numbers = json.loads((REPOSITORY / "tools" / "reports" / "ceilings.json").read_text(encoding="utf-8"))
    rows = [row for row in numbers["strangers"] if row["network"] == ceilings.SHIPPED]

    def passing(pair: tuple[str, int, str], way: str) -> float:
        found = ceilings._passing(rows, pair, way)
        assert found is not None, (pair, way)
        return found["0.02"]

    measures = [way for way in dict.fromkeys(row["way"] for row in rows) if ceilings.published(way)]
    half = next(way for way, count in ceilings.SHOWN.items() if not count)
    thirty = next(way for way, count in ceilings.SHOWN.items() if count)
    for pair in ceilings.PAIRS[:2]:
        edged = passing(pair, ceilings.EDGED)
        assert edged < min(passing(pair, way) for way in measures)
        assert edged < passing(pair, half) + 0.01
        assert passing(pair, ceilings.CORRECTED) <= ceilings.ASKED_STRANGERS < passing(pair, half)
    kinds = ("kinds", 30, "flowers")
    knowing = [ceilings.EDGED, ceilings.OTHERS, ceilings.NAMES, *measures]
    assert min(passing(kinds, way) for way in knowing) > 3 * passing(kinds, thirty)
    for row in (row for row in numbers["doubtful"] if row["network"] == ceilings.SHIPPED):
        found = {way: value[0] for way, value in row["found"].items()}
        assert abs(found[ceilings.EDGED] - found[ceilings.RIGHT_LABELS]) < 0.02
        assert row["set"] != "kinds" or found[ceilings.OWN_HEAD] > doubtful.ASKED
        assert row["per_label"] == 0 or found[ceilings.MORE_PHOTOS] > found[ceilings.EDGED]
    for row in (row for row in numbers["doubtful"] if (row["set"], row["per_label"]) == ("kinds", 0)):
        assert max(row["found"][way][0] for way in (ceilings.EDGED, ceilings.RIGHT_LABELS)) < doubtful.ASKED
    odd, flowers = len(ceilings.looked_at()["no flower"]["found"]), 2237  # of the report side
    assert 0.01 < odd / flowers < 0.02
    for one in numbers["labels"].values():
        half_of_them = one["goal"]["labels"] / 2
        published = [one["reached"][way] for way in oracle.WAYS[2:] if way not in oracle.ORACLES]
        assert all((labels or 1e9) >= (one["reached"][ceilings.EDGED_LABELS] or 1e9) for labels in published)
        assert one["reached"][oracle.ORACLE] < half_of_them < (one["reached"][oracle.BLIND] or 1e9)
        assert one["nearly"] > 0.8 * one["goal"]["labels"]


def test_what_was_found_on_photos_was_looked_at() -> None:
    from benchmarks.ceilings import looked_at

    for name, one in looked_at().items():
        assert len(set(one["looked"])) == len(one["looked"]), name
        assert set(one["found"]) < set(one["looked"])
        assert all(len(part) == 12 and int(part, 16) >= 0 for part in one["looked"])
