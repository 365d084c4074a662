"""The exported file through the interpreter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.errors import TrainingError
from edged.images import ImageStore, open_images
from edged.learning import judging
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks, Selection, select
from edged.learning.evaluation import evaluate
from edged.store import read_bundle
from edged.vision.graph import Graph
from tests.albums import LABELS, make_album
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "mobilenet_v2"


@pytest.fixture
def images(tmp_path: Path) -> Iterator[tuple[ImageStore, Selection]]:
    store = open_images(tmp_path / "state", make_album(tmp_path / "album", 12), 100.0)
    store.scan(settle_s=0)
    yield store, select(store.labeled())
    store.close()


def quiet(done: int, of: int) -> None:
    pass


def headed(backbone: Backbone, seed: int) -> bytes:
    """A model with a head of random weights for three labels."""
    weights = np.random.default_rng(seed).normal(0, 0.05, (len(LABELS), backbone.features)).astype(np.float32)
    return Graph(backbone.model).replace_head(weights, np.zeros(len(LABELS), np.float32), (-8.0, 8.0))


def test_no_images_have_no_scores(images: tuple[ImageStore, Selection]) -> None:
    store, selection = images
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    nothing = replace(selection, images=())
    examples = KeptBottlenecks(store, backbone).splits(nothing, augment=False).validation
    scores = judging.scores_of(headed(backbone, 0), backbone, examples)
    assert scores.shape == (0, len(LABELS))
    assert evaluate(scores, examples.labels).accuracy is None
    assert judging.spot_check(headed(backbone, 0), backbone, examples) == 0


def test_a_head_that_is_not_the_graph_s_own_is_found(
    images: tuple[ImageStore, Selection], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, selection = images
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    assert complete(store, selection.images, lambda _: ("plain",), backbone, workers=1, tell=quiet) == []
    test = KeptBottlenecks(store, backbone).examples(selection, "test", augment=False)
    model, other = headed(backbone, 0), headed(backbone, 1)
    assert judging.spot_check(model, backbone, test) == min(judging.SPOT_CHECKS, len(test.images))
    head = judging.HeadNetwork
    whole, alone = (judging.scores_of(one, backbone, test)[0] for one in (model, other))
    monkeypatch.setattr(judging, "HeadNetwork", lambda _, **options: head(other, **options))
    greatest = re.escape(f"{np.abs(whole - alone).max():.4f} on {test.images[0].path}")
    with pytest.raises(TrainingError, match=f"the exported model and its head alone differ by {greatest}"):
        judging.spot_check(model, backbone, test)


def test_images_between_the_first_and_the_last_are_checked_and_missing_ones_passed_over(
    images: tuple[ImageStore, Selection],
) -> None:
    store, selection = images
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    complete(store, selection.images, lambda _: ("plain",), backbone, workers=1, tell=quiet)
    model, train = headed(backbone, 0), KeptBottlenecks(store, backbone).examples(selection, "train", augment=False)
    assert len(train.images) > 16
    assert judging.spot_check(model, backbone, train) == 8
    train.images[0].path.unlink()
    assert judging.spot_check(model, backbone, train) == 7
    train.images[-1].path.unlink()
    assert judging.spot_check(model, backbone, train) == 6


def test_scores_are_those_of_the_plain_view(images: tuple[ImageStore, Selection]) -> None:
    store, selection = images
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    complete(store, selection.images, lambda _: ("plain",), backbone, workers=1, tell=quiet)
    plain = KeptBottlenecks(store, backbone).examples(selection, "test", augment=False)
    views = replace(plain, features=np.stack([plain.features, plain.features // 2], axis=1))
    model = headed(backbone, 0)
    np.testing.assert_array_equal(judging.scores_of(model, backbone, views), judging.scores_of(model, backbone, plain))


def test_the_runtime_that_the_backbone_names_runs_the_file(images: tuple[ImageStore, Selection]) -> None:
    store, selection = images
    backbone = Backbone.of(read_bundle(SHIPPED), "auto")
    complete(store, selection.images, lambda _: ("plain",), backbone, workers=1, tell=quiet)
    test = KeptBottlenecks(store, backbone).examples(selection, "test", augment=False)
    strange: Any = replace(backbone, runtime="no_such_runtime")
    model = headed(backbone, 0)
    for run in (judging.scores_of, judging.spot_check):
        with pytest.raises(Exception, match="no_such_runtime"):
            run(model, strange, test)
