"""Which network a training is asked to give a new head to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edged.errors import RefusedError
from edged.learning import Limits, candidates, choose_backbone
from edged.store import Store, read_bundle
from edged.zoo.install import install
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "mobilenet_v2"


def test_the_backbone_is_what_was_installed(tmp_path: Path) -> None:
    store, shipped = Store(tmp_path), read_bundle(SHIPPED)
    model = shipped.read_model() + bytes(16)
    changes = {"name": "retrained", "sha256": hashlib.sha256(model).hexdigest()}
    trained = store.write_version(model, shipped.labels, shipped.manifest.model_copy(update=changes))
    assert trained.id != shipped.id
    for name in (None, "auto", "mobilenet_v2", shipped.id):
        assert choose_backbone(store, trained, name).path == SHIPPED
    with pytest.raises(RefusedError, match=r"resnet.*installed: mobilenet_v2"):
        choose_backbone(store, trained, "resnet")


def test_only_auto_has_candidates(tmp_path: Path) -> None:
    store, shipped = Store(tmp_path), read_bundle(SHIPPED)
    with pytest.raises(RefusedError, match="backbone = auto: nothing to choose from, installed is only mobilenet_v2"):
        candidates(store, "auto")
    other = install(store, shipped.read_model() + bytes(16), shipped.labels, name="other", origin="other")
    assert set(candidates(store, "auto")) == {SHIPPED, other.path}
    assert candidates(store, None) == candidates(store, "other") == ()


def test_limits_without_a_choice_are_refused(tmp_path: Path) -> None:
    store, shipped = Store(tmp_path), read_bundle(SHIPPED)
    install(store, shipped.read_model() + bytes(16), shipped.labels, name="other", origin="other")
    for limits in (Limits(within_ms=5.0), Limits(memory_mb=50.0)):
        assert len(candidates(store, "auto", limits)) == 2
        with pytest.raises(RefusedError, match="they need backbone = auto"):
            candidates(store, "other", limits)
    assert candidates(store, "other", Limits(threads=4)) == ()
