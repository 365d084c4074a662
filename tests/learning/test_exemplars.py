"""What of the taught images a bundle keeps, and how each of them is held out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edged.learning.bottlenecks import Backbone
from edged.learning.exemplars import choose, common_to, familiarity_of
from edged.store import Bundle, Store, read_bundle
from edged.vision.familiarity import MOST_EXEMPLARS, Familiarity, Spread, common_direction, directions
from edged.vision.graph import read_graph
from edged.zoo.install import install
from tests.albums import LABELS
from tests.heads import headed
from tests.learning.conftest import SHIPPED
from tests.vision.test_familiarity import AFFINE, FEATURES, cloud

NOTHING = np.zeros(FEATURES, np.float32)


def ready(real: np.ndarray) -> np.ndarray:
    return directions(real, NOTHING)


def test_few_taught_images_are_all_kept() -> None:
    assert choose(ready(cloud(40, 1, 0))).tolist() == list(range(40))


def test_of_many_the_chosen_leave_no_rare_kind_out() -> None:
    many, rare = cloud(900, 1, 0), cloud(3, 2, 0)
    chosen = choose(ready(np.concatenate([many, rare])))
    assert len(chosen) == len(set(chosen.tolist())) == MOST_EXEMPLARS
    assert {900, 901, 902} & set(chosen.tolist())
    assert chosen.tolist() == sorted(chosen)
    assert np.array_equal(chosen, choose(ready(np.concatenate([many, rare]))))


def by_hand(cosines: np.ndarray, count: int) -> list[int]:
    """Choose the most central one, and then each time the one whose most alike chosen one is the least alike."""
    chosen = [int(np.argmax([row.sum() for row in cosines]))]
    while len(chosen) < count:
        others = [row for row in range(len(cosines)) if row not in chosen]
        chosen.append(min(others, key=lambda row: max(cosines[row, other] for other in chosen)))
    return sorted(chosen)


def test_each_next_one_is_the_least_alike_to_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.learning.exemplars.MOST_EXEMPLARS", 8)
    some = ready(np.concatenate([cloud(30, kind, 0) for kind in (1, 2, 3)]))
    assert choose(some).tolist() == by_hand(some @ some.T, 8)


def test_of_very_many_some_are_drawn_the_same_ones_each_time() -> None:
    very_many = ready(cloud(1300, 1, 0))
    first = choose(very_many)
    assert len(set(first.tolist())) == MOST_EXEMPLARS
    assert first.max() >= 1000, "they are drawn from all"
    assert np.array_equal(first, choose(very_many, 0))
    assert not np.array_equal(first, choose(very_many, 1))


def test_every_image_is_compared_with_the_five_nearest_exemplars_of_other_groups() -> None:
    real = np.concatenate([cloud(300, 1, 0), cloud(300, 2, 0)])  # more than are compared at once
    groups = [str(number // 3) for number in range(600)]
    data, some = AFFINE.quantize(real, np.int8), ready(AFFINE.dequantize(AFFINE.quantize(real, np.int8)))
    known = familiarity_of(data, AFFINE, groups, NOTHING, None, None)
    assert known is not None
    chosen = choose(some)
    similarity = []
    for number, cosines in enumerate((some @ some[chosen].T).tolist()):
        others = sorted(cosine for cosine, other in zip(cosines, chosen, strict=True) if number // 3 != other // 3)
        similarity.append(np.mean(others[-5:]))
    assert known.similarity.mean == pytest.approx(np.mean(similarity), abs=1e-5)
    assert known.similarity.deviation == pytest.approx(np.std(similarity), abs=1e-5)
    expected = np.sort((similarity - np.mean(similarity)) / np.std(similarity))
    assert known.held_out == pytest.approx(expected, abs=1e-2)
    assert np.array_equal(known.exemplars, data[chosen])


def test_a_near_duplicate_does_not_vouch_for_an_image() -> None:
    real = np.repeat(cloud(60, 1, 0), 2, axis=0)  # each twice: as a burst of the camera
    real[1::2] += 0.01
    data = AFFINE.quantize(real, np.int8)
    pairs = [str(number // 2) for number in range(120)]
    grouped = familiarity_of(data, AFFINE, pairs, NOTHING, None, None)
    blind = familiarity_of(data, AFFINE, [str(number) for number in range(120)], NOTHING, None, None)
    assert grouped is not None
    assert blind is not None
    assert grouped.similarity.mean < blind.similarity.mean
    new = cloud(300, 1, 7)
    share = np.mean([grouped.familiarity(grouped.score(one)) < 0.1 for one in new])
    assert share == pytest.approx(0.1, abs=0.06)


def test_the_energy_is_that_of_heads_which_have_not_seen_the_image() -> None:
    real = cloud(100, 1, 0)
    weights, bias = np.stack([real[0], real[1]]), np.array([0.5, -0.5], np.float32)
    left_out = np.full((2, 100, 2), np.nan, np.float32)
    left_out[0, :50] = 1.0
    left_out[1, :40] = 3.0
    known = familiarity_of(
        AFFINE.quantize(real, np.int8), AFFINE, [str(n) for n in range(100)], NOTHING, (weights, bias), left_out
    )
    assert known is not None
    assert known.head is not None
    assert np.array_equal(known.head.weights, weights)
    assert np.array_equal(known.head.bias, bias)
    assert len(known.held_out) == 50, "an image that no head has judged says nothing"
    energies = np.array([2.0] * 40 + [1.0] * 10) + np.log(2)  # the mean of both divisions, where there are two
    assert known.head.energy.mean == pytest.approx(energies.mean(), abs=1e-4)
    assert known.head.energy.deviation == pytest.approx(energies.std(), abs=1e-4)


def test_a_head_that_nobody_has_judged_images_without_does_not_count() -> None:
    data = AFFINE.quantize(cloud(40, 1, 0), np.int8)
    groups = [str(number) for number in range(40)]
    alone = familiarity_of(data, AFFINE, groups, NOTHING, None, None)
    head = (np.ones((2, FEATURES), np.float32), np.zeros(2, np.float32))
    for one, left_out in ((head, None), (None, np.ones((1, 40, 2), np.float32))):
        known = familiarity_of(data, AFFINE, groups, NOTHING, one, left_out)
        assert known is not None
        assert alone is not None
        assert known.encode() == alone.encode()


def with_familiarity(bundle: Bundle, folder: Path, content: bytes | None) -> Backbone:
    """Return the backbone of a copy of a bundle that has this familiarity."""
    shutil.copytree(bundle.path, folder)
    (folder / "familiarity.npz").unlink(missing_ok=True)
    if content is not None:
        (folder / "familiarity.npz").write_bytes(content)
    return Backbone.of(read_bundle(folder), "auto")


def saying(common: np.ndarray) -> bytes:
    exemplars, held_out = np.ones((1, len(common)), np.int8), np.zeros(1, np.float32)
    return Familiarity(exemplars, AFFINE, common, Spread(0.0, 1.0), None, held_out).encode()


def test_a_head_of_many_classes_says_itself_what_bottlenecks_have_in_common(tmp_path: Path) -> None:
    own = common_direction(read_graph(read_bundle(SHIPPED).read_model()).head_weights())
    assert own.any()
    other = with_familiarity(read_bundle(SHIPPED), tmp_path / "copy", saying(np.ones_like(own)))
    assert np.array_equal(common_to(other), own)


def test_of_a_head_of_few_classes_the_bundle_knows_it(tmp_path: Path) -> None:
    bundle = install(Store(tmp_path / "state"), headed(), LABELS, name="few", origin="few")
    common = np.linspace(0, 1, Backbone.of(bundle, "auto").features).astype(np.float32)
    assert common_to(with_familiarity(bundle, tmp_path / "a", saying(common))) == pytest.approx(common, abs=1e-3)
    for number, content in enumerate((None, b"damaged")):
        assert not common_to(with_familiarity(bundle, tmp_path / str(number), content)).any()


def test_too_few_images_say_nothing() -> None:
    data = AFFINE.quantize(cloud(20, 1, 0), np.int8)
    groups = [str(number) for number in range(len(data))]
    assert familiarity_of(data, AFFINE, groups, NOTHING, None, None) is not None
    assert familiarity_of(data[:19], AFFINE, groups[:19], NOTHING, None, None) is None
    burst = familiarity_of(AFFINE.quantize(cloud(50, 1, 0), np.int8), AFFINE, ["one"] * 50, NOTHING, None, None)
    assert burst is None, "fifty pictures of one burst are one picture"
