"""How alike a frame is to what was taught: on seeded clouds of bottlenecks, and on the file that ships."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.errors import ModelError
from edged.learning.exemplars import familiarity_of
from edged.store import read_bundle
from edged.vision.familiarity import (
    Familiarity,
    Head,
    Spread,
    common_direction,
    directions,
    prototypes,
    soft_minimum,
)
from edged.vision.network import Network
from edged.vision.quantization import Affine
from tests.conftest import REPOSITORY

FEATURES = 64
AFFINE = Affine(0.02, -128)
SHIPPED = REPOSITORY / "models" / "mobilenet_v2"


def cloud(count: int, kind: int, seed: int) -> np.ndarray:
    """Bottlenecks (count, FEATURES) of one kind of thing, 0 or more like those behind a ReLU, float32."""
    centre = np.maximum(np.random.default_rng(kind).normal(0.0, 1.0, FEATURES), 0)
    random = np.random.default_rng([kind, seed])
    return np.maximum(centre + random.normal(0.0, 0.4, (count, FEATURES)), 0).astype(np.float32)


def taught(count: int = 200, kinds: tuple[int, ...] = (1, 2), **more: Any) -> Familiarity:
    """What a device knows that was taught so many things of each kind."""
    real = np.concatenate([cloud(count, kind, 0) for kind in kinds])
    arguments: dict[str, Any] = {"common": np.zeros(FEATURES, np.float32), "head": None, "left_out": None}
    groups = [str(number) for number in range(len(real))]
    known = familiarity_of(AFFINE.quantize(real, np.int8), AFFINE, groups, **arguments | more)
    assert known is not None
    return known


def shares(known: Familiarity, bottlenecks: np.ndarray) -> np.ndarray:
    return np.array([known.familiarity(known.score(one)) for one in bottlenecks])


def test_new_things_of_a_taught_kind_fall_below_a_limit_as_often_as_the_limit_says() -> None:
    known = taught()
    new = shares(known, np.concatenate([cloud(1000, 1, 7), cloud(1000, 2, 7)]))
    for limit in (0.02, 0.1, 0.5):
        assert np.mean(new < limit) == pytest.approx(limit, abs=3 * np.sqrt(limit / 400) + 0.005)
    assert new.min() > 0
    assert new.max() <= 1


def test_things_of_another_kind_fall_below_it_nearly_always() -> None:
    known = taught()
    for kind in (3, 4, 5):
        assert np.mean(shares(known, cloud(200, kind, 7)) < 0.02) > 0.9


def test_a_head_that_hesitates_makes_a_frame_stranger() -> None:
    weights = np.stack([cloud(1, kind, 0)[0] for kind in (1, 2)])
    real = np.concatenate([cloud(200, kind, 0) for kind in (1, 2)])
    head = (weights, np.zeros(2, np.float32))
    both, alone = taught(head=head, left_out=(real @ weights.T)[np.newaxis]), taught()
    frame = cloud(1, 1, 7)[0]
    weak = frame * 0.1  # the same direction, so as similar as before; all logits are near 0
    assert alone.score(weak) == pytest.approx(alone.score(frame), abs=1e-4)
    assert shares(both, frame[np.newaxis])[0] > 0.02
    assert shares(both, weak[np.newaxis])[0] < 0.02


def test_the_soft_minimum_lies_below_both() -> None:
    one, other = np.array([0.0, -3.0, 50.0], np.float32), np.array([0.0, 4.0, -50.0], np.float32)
    found = soft_minimum(one, other)
    assert (found <= np.minimum(one, other)).all()
    assert found[1] == pytest.approx(-3.0, abs=1e-2)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("count", [9, 3])
def test_the_score_of_a_frame_is_the_one_that_one_calculates_by_hand(count: int) -> None:
    random = np.random.default_rng(count)
    taught_ones = random.integers(-128, 128, (count, 6)).astype(np.int8)
    common = random.uniform(0, 0.4, 6).astype(np.float32)
    weights, bias = random.normal(0, 1, (4, 6)).astype(np.float32), random.normal(0, 1, 4).astype(np.float32)
    frames = random.uniform(0, 5, (7, 6)).astype(np.float32)
    held_out = np.zeros(1, np.float32)
    head = Head(weights, bias, Spread(2.0, 0.5))
    known = Familiarity(taught_ones, AFFINE, common, Spread(0.6, 0.1), head, held_out)
    alone = Familiarity(taught_ones, AFFINE, common, Spread(0.6, 0.1), None, held_out)

    def pointing(row: np.ndarray) -> np.ndarray:
        left = row / np.linalg.norm(row) - common
        return left / np.linalg.norm(left)

    for frame in frames:
        cosines = sorted(pointing(frame) @ pointing(row) for row in AFFINE.dequantize(taught_ones))
        similarity = (np.mean(cosines[-5:]) - 0.6) / 0.1
        energy = (np.log(np.exp(weights @ frame + bias).sum()) - 2.0) / 0.5
        assert alone.score(frame) == pytest.approx(similarity, abs=1e-4)
        assert known.score(frame) == pytest.approx(-np.log(np.exp(-similarity) + np.exp(-energy)), abs=1e-4)
    assert known.scores(frames).tolist() == pytest.approx([known.score(frame) for frame in frames], abs=1e-5)
    assert np.isfinite(known.score(np.zeros(6, np.float32))), "a bottleneck of zeros points nowhere, and has a score"


def test_the_familiarity_is_the_share_of_held_out_images_that_are_no_more_alike() -> None:
    nothing = np.zeros(2, np.float32)
    held_out = np.array([-1.0, 0.0, 0.0, 2.0], np.float32)
    known = Familiarity(np.ones((1, 2), np.int8), AFFINE, nothing, Spread(0.0, 1.0), None, held_out)
    assert [known.familiarity(score) for score in (-1.5, -1.0, 0.0, 1.0, 2.5)] == [0.2, 0.4, 0.8, 0.8, 1.0]


def test_the_common_direction_is_the_one_that_one_calculates_by_hand() -> None:
    head = np.random.default_rng(0).normal(np.linspace(-1, 2, 16), 1, (100, 16)).astype(np.float32)
    positive = np.maximum(head - np.mean(head, axis=0), 0)
    rows = positive / np.sqrt(np.square(positive).sum(axis=1))[:, np.newaxis]
    assert prototypes(head) == pytest.approx(rows, abs=1e-5)
    assert common_direction(head) == pytest.approx(0.75 * rows.mean(axis=0), abs=1e-5)
    assert common_direction(head[:99]).tolist() == [0.0] * 16, "99 classes do not stand for the world"


def test_held_out_images_that_are_all_alike_still_have_a_spread() -> None:
    spread = Spread.of(np.full(30, 0.5, np.float32))
    assert spread.standardise(np.array([0.5, 0.4], np.float32))[0] == 0
    assert spread.standardise(np.array([0.5, 0.4], np.float32))[1] < -1000


def test_what_all_bottlenecks_have_in_common_is_read_off_a_head_of_many_classes_only() -> None:
    head = np.random.default_rng(0).normal(0, 1, (120, FEATURES)).astype(np.float32)
    head[:, :5] += 3 * np.sign(np.random.default_rng(1).normal(0, 1, (120, 5)))
    common = common_direction(head)
    assert common.shape == (FEATURES,)
    assert common[:5].mean() > 1.5 * common[5:].mean()
    assert np.linalg.norm(prototypes(head), axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not common_direction(head[:20]).any()


def test_taking_the_common_direction_off_makes_different_things_less_alike() -> None:
    head = np.abs(np.random.default_rng(0).normal(0, 1, (120, FEATURES))).astype(np.float32)
    shared = common_direction(head)
    one, other = shared * 5 + cloud(1, 1, 0)[0], shared * 5 + cloud(1, 2, 0)[0]
    none = np.zeros(FEATURES, np.float32)
    with_it, without = (float(directions(one, common) @ directions(other, common)) for common in (none, shared))
    assert without < with_it


def test_what_is_written_is_read_again() -> None:
    weights = np.stack([cloud(1, kind, 0)[0] for kind in (1, 2)])
    real = np.concatenate([cloud(200, kind, 0) for kind in (1, 2)])
    for more in ({}, {"head": (weights, np.ones(2, np.float32)), "left_out": (real @ weights.T)[np.newaxis]}):
        known = taught(**more)
        again = Familiarity.decode(known.encode())
        assert again.encode() == known.encode()
        for frame in cloud(20, 1, 7):
            assert again.score(frame) == pytest.approx(known.score(frame), abs=0.02)
        with np.load(io.BytesIO(known.encode())) as file:
            own = {"version", "exemplars", "affine", "common", "spreads", "held_out"}
            assert set(file.files) == own | ({"weights", "bias"} if more else set())


def _change(name: str, to: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            arrays = {key: file[key] for key in file.files}
        arrays[name] = to(arrays[name])
        changed = io.BytesIO()
        np.savez(changed, **arrays)
        return changed.getvalue()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut off"),
        pytest.param(lambda _: b"PK\x03\x04" + bytes(100), id="zeros"),
        pytest.param(_change("version", lambda old: old + 1), id="a version to come"),
        pytest.param(_change("exemplars", lambda old: old[:, :-1]), id="exemplars too narrow"),
        pytest.param(_change("exemplars", lambda old: old[:0]), id="no exemplars"),
        pytest.param(_change("exemplars", lambda old: old.astype(np.float32)), id="exemplars that are no bytes"),
        pytest.param(_change("held_out", lambda old: old[::-1]), id="held out in no order"),
        pytest.param(_change("held_out", lambda old: old * np.nan), id="held out that are no numbers"),
        pytest.param(_change("exemplars", lambda old: np.resize(old, (4097, FEATURES))), id="too many exemplars"),
        pytest.param(_change("exemplars", lambda old: old[..., np.newaxis]), id="exemplars in three dimensions"),
        pytest.param(_change("held_out", lambda old: old[:0]), id="none held out"),
        pytest.param(_change("held_out", lambda old: old[:, np.newaxis]), id="held out in two dimensions"),
        pytest.param(_change("common", lambda old: old * np.nan), id="a common direction that is no number"),
        pytest.param(_change("bias", lambda old: old * np.nan), id="a bias that is no number"),
        pytest.param(_change("weights", lambda old: old * np.nan), id="weights that are no numbers"),
        pytest.param(_change("weights", lambda old: old[:, :-1]), id="weights too narrow"),
        pytest.param(_change("weights", lambda old: old.astype("U8")), id="weights that are text"),
        pytest.param(_change("common", lambda old: np.append(old[1:], np.nan)), id="a direction with one gap"),
        pytest.param(_change("affine", lambda old: old * [np.nan, 1]), id="a scale that is no number"),
        pytest.param(_change("spreads", lambda old: old * [np.nan, 1]), id="a mean that is no number"),
        pytest.param(_change("weights", lambda old: old[:1]), id="weights without a bias"),
        pytest.param(_change("affine", lambda old: old[:1]), id="half a scale"),
        pytest.param(_change("affine", lambda old: old * [np.inf, 1]), id="a scale without end"),
        pytest.param(_change("spreads", lambda old: old * np.nan), id="spreads that are no numbers"),
        pytest.param(_change("spreads", lambda old: old * [1, 0]), id="images that do not differ"),
        pytest.param(_change("spreads", lambda old: old * [[1, 1], [1, 0]]), id="energies that do not differ"),
    ],
)
def test_a_damaged_file_is_one_error(damage: Callable[[bytes], bytes]) -> None:
    weights = np.stack([cloud(1, kind, 0)[0] for kind in (1, 2)])
    real = np.concatenate([cloud(200, kind, 0) for kind in (1, 2)])
    whole = taught(head=(weights, np.ones(2, np.float32)), left_out=(real @ weights.T)[np.newaxis]).encode()
    with pytest.raises(ModelError):
        Familiarity.decode(damage(whole))


def test_the_least_and_the_most_that_a_file_can_have_are_read() -> None:
    data = taught().encode()
    most = Familiarity.decode(_change("exemplars", lambda old: np.resize(old, (4096, FEATURES)))(data))
    assert len(most.exemplars) == 4096
    least = Familiarity.decode(
        _change("exemplars", lambda old: old[:1])(_change("held_out", lambda old: old[:1])(data))
    )
    assert (len(least.exemplars), len(least.held_out)) == (1, 1)
    again = Familiarity.decode(_change("held_out", lambda old: np.repeat(old, 2))(data))
    assert len(again.held_out) == 2 * len(taught().held_out), "two images may be equally alike"


def test_what_a_file_would_run_when_it_is_unpickled_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "run",)

    with pytest.raises(ModelError, match="damaged"):
        Familiarity.decode(_change("exemplars", lambda _: np.array([Trap()], object))(taught().encode()))
    assert not (tmp_path / "run").exists()


def test_one_of_another_network_is_one_error() -> None:
    data = taught().encode()
    assert Familiarity.decode(data, FEATURES).common.shape == (FEATURES,)
    with pytest.raises(ModelError, match=f"have {FEATURES} features, the model's {FEATURES + 1}"):
        Familiarity.decode(data, FEATURES + 1)


def test_the_network_that_ships_finds_noise_and_an_empty_picture_strange_but_no_photo() -> None:
    bundle = read_bundle(SHIPPED)
    data = bundle.read_familiarity()
    assert data is not None
    known, network = Familiarity.decode(data), Network(bundle.read_model(), crop=bundle.manifest.input.crop)

    def share(picture: np.ndarray) -> float:
        return known.familiarity(known.score(network.infer(network.prepare(picture)).embedding))

    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    assert share(noise) < 0.02
    photos = sorted((REPOSITORY / "edged" / "demo" / "photos").glob("*.jpg"))
    assert len(photos) >= 5
    for photo in photos:
        picture = cv2.imread(str(photo))
        assert picture is not None
        assert share(np.ascontiguousarray(picture[:, :, ::-1])) >= 0.02, photo.name


def test_a_small_archive_that_holds_far_too_much_is_not_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("exemplars.npy", bytes(68_000_000))
    assert len(file.getvalue()) < 1_000_000
    with pytest.raises(ModelError, match=r"68 MB when unpacked; at most 67 MB are read"):
        Familiarity.decode(file.getvalue())
