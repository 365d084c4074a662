"""Networks of the zoo whose familiarity was measured: they get it when they are installed, made of their own head."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edged import resources
from edged.errors import ModelError
from edged.store import Store
from edged.vision.familiarity import Familiarity, head_similarities, of_head
from edged.vision.graph import Graph
from edged.zoo.catalogue import read_catalogue
from edged.zoo.install import check_familiarity, install, verify
from edged.zoo.known import FILE, known_familiarity

SHIPPED = resources.shipped("models") / "mobilenet_v2"
LABELS = (SHIPPED / "labels.txt").read_text(encoding="utf-8").splitlines()
SIMILARITY = [0.15, 0.2, 0.25, 0.3]


@pytest.fixture(scope="module")
def model() -> bytes:
    return (SHIPPED / "model.tflite").read_bytes()


@pytest.fixture
def numbers(tmp_path: Path, model: bytes) -> Path:
    """Say that the shipped network was measured."""
    path = tmp_path / FILE
    told = {"name": "x", "photos": 4, "similarity": SIMILARITY}
    path.write_text(json.dumps({hashlib.sha256(model).hexdigest(): told}), encoding="utf-8")
    return path


def test_the_numbers_and_the_head_make_what_the_shipped_network_has(model: bytes, numbers: Path) -> None:
    content = known_familiarity(model, numbers)
    assert content is not None
    shipped = Familiarity.decode((SHIPPED / "familiarity.npz").read_bytes())
    made = Familiarity.decode(content, shipped.exemplars.shape[1])
    np.testing.assert_array_equal(made.exemplars, shipped.exemplars)
    np.testing.assert_array_equal(made.common, shipped.common)
    assert (made.affine, made.head) == (shipped.affine, None)
    assert made.similarity.mean == pytest.approx(np.mean(SIMILARITY))


def test_a_bottleneck_takes_the_place_among_the_numbers_that_its_similarity_has(model: bytes) -> None:
    graph = Graph(model)
    head, affine = graph.head_weights(), graph.bottleneck_quantization
    random = np.random.default_rng(0)
    rows = random.integers(-128, 128, (9, head.shape[1])).astype(np.int8)
    similarity = head_similarities(head, affine, np.int8, rows)
    assert np.unique(similarity).size == 9
    made = of_head(head, affine, np.int8, similarity - np.float32(1e-5))
    familiarity = [made.familiarity(made.score(row)) for row in affine.dequantize(rows)]
    places = similarity.argsort().argsort()
    assert familiarity == pytest.approx((2 + places) / 10)


def test_a_network_that_was_measured_gets_it_when_it_is_installed(
    tmp_path: Path, model: bytes, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.zoo.known._read", lambda _: json.loads(numbers.read_text()))
    bundle = install(Store(tmp_path / "state"), model, LABELS, name="added", origin="added.tflite")
    found = bundle.read_familiarity()
    assert found is not None
    examined = verify(bundle)
    check_familiarity(bundle, examined.features)
    assert Familiarity.decode(found).similarity.mean == pytest.approx(np.mean(SIMILARITY))


def test_any_other_network_gets_none(tmp_path: Path, model: bytes) -> None:
    bundle = install(Store(tmp_path / "state"), model, LABELS, name="added", origin="added.tflite")
    assert bundle.read_familiarity() is None, "it has its own where it is shipped, and no numbers"


def test_numbers_that_cannot_be_read_are_one_line(tmp_path: Path, model: bytes) -> None:
    with pytest.raises(ModelError, match=r"none\.json: .*No such file"):
        known_familiarity(model, tmp_path / "none.json")
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ModelError, match=FILE):
        known_familiarity(model, tmp_path / FILE)


def test_every_network_that_can_be_pulled_was_measured() -> None:
    measured = json.loads((resources.shipped("configs") / FILE).read_text(encoding="utf-8"))
    for name, entry in read_catalogue().items():
        values = measured[entry.sha256]["similarity"]
        assert values == sorted(values), name
        assert len(values) == 200
        assert 0 < values[0] < values[-1] < 1
