"""The store on a real disk: bundles, versions, what runs; interruptions, damage and a full disk."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.errors import ConfigError, ModelError
from edged.store import Bundle, Manifest, Store, parse_labels, read_bundle
from tests.conftest import REPOSITORY
from tests.pinned import Pins
from tests.waiting import PATIENCE_S

A, B, C, D = (letter * 3000 for letter in (b"a", b"b", b"c", b"d"))
LABELS = ["cat", "dog"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store whose configured model is `main`: A, shipped."""
    folder = tmp_path / "shipped" / "main"
    write_bundle(folder, A, "main")
    return Store(tmp_path / "state", shipped=tmp_path / "shipped")


def manifest(model: bytes, name: str = "main", **more: Any) -> Manifest:
    sha256 = hashlib.sha256(model).hexdigest()
    return Manifest.model_validate({"name": name, "sha256": sha256, "input": {"width": 8, "height": 6}} | more)


def write_bundle(folder: Path, model: bytes, name: str, **more: Any) -> Bundle:
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(model)
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "manifest.json").write_bytes(manifest(model, name, **more).encode())
    return read_bundle(folder)


def promote(store: Store, model: bytes) -> Bundle:
    return store.promote(store.write_version(model, LABELS, manifest(model)), "main")


def bundle_id_of(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()[:12]


class TestBundle:
    def test_reads_what_the_files_say(self, tmp_path: Path) -> None:
        bundle = write_bundle(
            tmp_path / "one", A, "main", parent="0" * 12, training={"accuracy": {"quantized": 0.93}}, colour="blue"
        )
        assert bundle.id == hashlib.sha256(A).hexdigest()[:12]
        assert bundle.name == bundle.backbone == "main"
        assert bundle.labels == ("cat", "dog")
        assert bundle.manifest.input.crop == 0.875
        assert bundle.manifest.backbone_sha256 == bundle.manifest.sha256
        assert bundle.accuracy == 0.93
        assert bundle.read_model() == A
        assert json.loads(bundle.manifest.encode())["colour"] == "blue"

    @pytest.mark.parametrize(
        ("fields", "accuracy"),
        [
            ({}, None),
            ({"accuracy": {"quantized": {"top1": 0.79}}}, 0.79),
            ({"accuracy": {"quantized": {"top1": 80.0}}}, 0.8),
            ({"accuracy": {"quantized": {"top1": 0.79}}, "training": {}}, None),
            ({"accuracy": {"quantized": "unknown"}}, None),
            ({"training": {"accuracy": {"quantized": 1.0, "cross_validated": 0.8}}}, 0.8),
            ({"training": {"accuracy": {"quantized": 0.9, "cross_validated": None}}}, 0.9),
        ],
    )
    def test_accuracy(self, tmp_path: Path, fields: dict[str, Any], accuracy: float | None) -> None:
        assert write_bundle(tmp_path / "one", A, "main", **fields).accuracy == accuracy

    def test_a_changed_model_is_refused(self, tmp_path: Path) -> None:
        bundle = write_bundle(tmp_path / "one", A, "main")
        (bundle.path / "model.tflite").write_bytes(B)
        with pytest.raises(ModelError, match=r"one/model\.tflite: damaged"):
            bundle.read_model()

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("model.tflite", None, r"model\.tflite: no such file"),
            ("labels.txt", None, r"labels\.txt: no such file"),
            ("manifest.json", None, r"manifest\.json: no such file"),
            ("labels.txt", b"", r"labels\.txt: contains no label"),
            ("labels.txt", b"cat\n\ndog\n", r"labels\.txt: line 2 is empty"),
            ("labels.txt", b"cat\n\xff\xfe\n", r"labels\.txt: line 2 is not UTF-8"),
            ("manifest.json", b"", r"manifest\.json: Invalid JSON"),
            ("manifest.json", b'{"v": 2, "name": "x"}', r"manifest\.json: v: Input should be 1"),
            ("manifest.json", b'{"name": "a/b", "sha256": ""}', r"manifest\.json: name: use 1 to 64 letters"),
        ],
    )
    def test_bad_files_are_named_in_one_line(
        self, tmp_path: Path, file: str, content: bytes | None, message: str
    ) -> None:
        folder = write_bundle(tmp_path / "one", A, "main").path
        (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            read_bundle(folder)
        assert "\n" not in str(caught.value)

    def test_labels_keep_what_people_wrote(self) -> None:
        assert parse_labels("\ufeffa, b\r\nа\u2028б\r\n\n".encode()) == ("a, b", "а\u2028б")


class TestInstalled:
    def test_an_added_model_wins_over_a_shipped_one(self, store: Store) -> None:
        with pytest.raises(ConfigError, match="a model named main is installed already"):
            store.add(B, LABELS, name="main", width=8, height=8)
        store.add(B, LABELS, name="main", width=8, height=8, replace=True)
        store.add(C, LABELS, name="other", width=8, height=8, crop=1.0, source="here", licence="MIT")
        assert [bundle.read_model() for bundle in store.installed()] == [B, C]
        assert store.find("other").manifest.licence == "MIT"
        store.remove("main")
        assert store.find("main").read_model() == A

    def test_find_by_id_and_among_versions(self, store: Store) -> None:
        version = store.write_version(B, LABELS, manifest(B, "flowers"))
        assert store.find(version.id) == version == store.find("flowers")
        assert store.find(hashlib.sha256(A).hexdigest()[:12]).name == "main"
        with pytest.raises(ModelError, match=r"no model '\.\./main' is installed; installed: main"):
            store.find("../main")

    def test_what_cannot_be_removed_stays(self, store: Store) -> None:
        with pytest.raises(ModelError, match="main: came with edged"):
            store.remove("main")
        with pytest.raises(ModelError, match="no model 'nothing'"):
            store.remove("nothing")

    def test_a_broken_bundle_does_not_hide_the_others(
        self, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "shipped" / "broken").mkdir()
        with caplog.at_level(logging.ERROR):
            assert [bundle.name for bundle in store.installed()] == ["main"]
            store.installed()
        assert len(caplog.records) == 1
        assert "broken/manifest.json: no such file" in caplog.text

    def test_labels_that_would_not_come_back_are_refused(self, store: Store) -> None:
        for labels in ([], ["a", ""], ["a\nb"], [" a"]):
            with pytest.raises(ModelError, match="labels must be"):
                store.add(B, labels, name="other", width=8, height=8)

    def test_looking_makes_nothing(self, store: Store, tmp_path: Path) -> None:
        store.installed()
        store.current("main")
        assert not (tmp_path / "state").exists()


class TestCurrent:
    def test_promote_and_roll_back(self, store: Store) -> None:
        assert store.current("main").read_model() == A
        assert store.previous("main") is None
        with pytest.raises(ModelError, match="nothing to roll back to"):
            store.rollback("main")
        promote(store, B)
        promote(store, C)
        assert (store.current("main").read_model(), model_of(store.previous("main"))) == (C, B)
        assert store.rollback("main").read_model() == B
        assert (store.current("main").read_model(), model_of(store.previous("main"))) == (B, A)
        promote(store, D)  # what was rolled back is no longer on the way
        assert model_of(store.previous("main")) == B
        assert store.rollback("main").read_model() == B
        assert store.rollback("main").read_model() == A
        assert store.previous("main") is None

    def test_the_first_rollback_survives_an_upgrade_of_the_package(self, store: Store, tmp_path: Path) -> None:
        promote(store, B)
        (tmp_path / "shipped" / "main" / "model.tflite").write_bytes(D)
        assert store.rollback("main").read_model() == A

    def test_promoting_an_older_version_again(self, store: Store) -> None:
        promote(store, B)
        promote(store, C)
        promote(store, B)
        assert [model_of(store.current("main")), model_of(store.rollback("main"))] == [B, C]
        assert store.rollback("main").read_model() == A
        assert store.previous("main") is None

    def test_promoting_what_runs_changes_nothing(self, store: Store) -> None:
        promote(store, B)
        promote(store, B)
        assert model_of(store.previous("main")) == A

    def test_another_configured_model_is_a_new_choice(self, store: Store) -> None:
        promote(store, B)
        store.add(C, LABELS, name="other", width=8, height=8)
        assert store.current("other").read_model() == C
        assert store.previous("other") is None
        assert store.current("main").read_model() == B
        store.promote(store.write_version(D, LABELS, manifest(D, "other")), "other")
        assert store.current("other").read_model() == D
        assert store.current("main").read_model() == A
        assert store.rollback("other").read_model() == C

    def test_an_installed_model_can_be_promoted(self, store: Store) -> None:
        other = store.add(C, LABELS, name="other", width=8, height=8)
        version = store.promote(other, "main")
        store.remove("other")
        assert store.current("main") == version
        assert version.name == "other"

    def test_corrected_labels_reach_a_version_that_runs(self, store: Store) -> None:
        promote(store, B)
        store.add(B, ["chat", "chien"], name="other", width=8, height=8)
        store.promote(store.find("other"), "main")
        assert store.current("main").labels == ("chat", "chien")

    def test_damaged_versions_are_passed_over(
        self, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        versions = [promote(store, model) for model in (B, C, D)]
        (versions[2].path / "model.tflite").write_bytes(b"")
        (versions[1].path / "labels.txt").unlink()
        with caplog.at_level(logging.ERROR):
            assert store.current("main").read_model() == B
            store.current("main")
        assert len(caplog.records) == 2
        assert model_of(store.previous("main")) == A
        (versions[0].path / "manifest.json").write_text("{}")
        (tmp_path / "state" / "versions" / hashlib.sha256(A).hexdigest()[:12] / "model.tflite").unlink()
        assert store.current("main").path == tmp_path / "shipped" / "main"
        assert promote(store, D).read_model() == D  # written anew

    def test_a_damaged_history_counts_as_none(self, store: Store, tmp_path: Path) -> None:
        promote(store, B)
        (tmp_path / "state" / "history.json").write_text("{")
        assert store.current("main").read_model() == A

    def test_nothing_configured_is_installed(self, store: Store) -> None:
        with pytest.raises(ModelError, match="no model 'missing' is installed; installed: main"):
            store.current("missing")
        store.promote(store.write_version(B, LABELS, manifest(B)), "missing")
        assert store.current("missing").read_model() == B

    def test_a_manifest_of_another_model_is_refused(self, store: Store) -> None:
        with pytest.raises(ModelError, match="sha256 is not that of the model"):
            store.write_version(B, LABELS, manifest(C))

    def test_what_cannot_be_deleted_is_told_once_and_stops_nothing(
        self, store: Store, pins: Pins, caplog: pytest.LogCaptureFixture
    ) -> None:
        pinned = promote(store, A + b"0")
        pins.pin(pinned.path / "model.tflite")
        versions = [promote(store, A + bytes([n])) for n in range(5)]
        with caplog.at_level(logging.WARNING):
            assert pinned.id in store.prune(keep=2)
            for model in (B, C):
                promote(store, model)
                store.prune(keep=2)
        assert {bundle.id for bundle in store.versions()} == {bundle_id_of(B), bundle_id_of(C)}
        (left,) = (path for path in (store.path / "versions").iterdir() if path.name.startswith("."))
        assert (left / "model.tflite").read_bytes() == A + b"0"
        assert [str(left) in record.getMessage() for record in caplog.records] == [True], caplog.text
        again = Store(store.path, shipped=store.path.parent / "shipped")
        assert again.current("main").id == bundle_id_of(C)
        assert versions[-1].id not in {bundle.id for bundle in again.versions()}

    def test_prune_keeps_what_may_be_needed(self, store: Store) -> None:
        ids = [promote(store, model).id for model in (B, C, D)]
        for number in range(4):
            store.write_version(b"%d" % number, LABELS, manifest(b"%d" % number, "spare"))
        assert len(store.prune(keep=5)) == 3
        assert {version.id for version in store.versions()} >= {ids[1], ids[2]}
        store.prune(keep=1)
        assert {version.id for version in store.versions()} == {ids[1], ids[2]}
        assert store.prune(keep=0) == []
        assert store.rollback("main").read_model() == C
        assert store.previous("main") is None


def model_of(bundle: Bundle | None) -> bytes | None:
    return None if bundle is None else bundle.read_model()


class TestInterruption:
    def test_killed_at_any_point_leaves_the_old_or_the_new(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "tests.store_killer", str(tmp_path)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr

    def test_half_a_file_in_a_version_goes(self, store: Store, tmp_path: Path) -> None:
        version = promote(store, B)
        half = version.path / ".tmp.0123456789ab"
        half.write_text("labels that were being repla")
        assert Store(store.path).current("main").read_model() == B
        assert not half.exists()

    def test_writers_wait_for_each_other(self, store: Store, tmp_path: Path) -> None:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.starmap(_add_many, [(tmp_path, "x"), (tmp_path, "y")])
            pool.close()
            pool.join()
        assert len(store.installed()) == 7
        threads = [threading.Thread(target=promote, args=(store, model)) for model in (B, C, D)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.rollback("main").read_model() for _ in range(3)][-1] == A

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_without_permission(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir(mode=0o500)
        with pytest.raises(ModelError, match="the model store cannot be changed: Permission denied"):
            store.add(B, LABELS, name="other", width=8, height=8)

    def test_a_state_folder_that_is_a_file(self, tmp_path: Path, store: Store) -> None:
        (tmp_path / "state").write_text("")
        with pytest.raises(ModelError, match="the model store cannot be changed"):
            store.add(B, LABELS, name="other", width=8, height=8)

    def test_a_file_that_cannot_grow(self, store: Store, tmp_path: Path) -> None:
        promote(store, B)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
        try:
            with pytest.raises(ModelError, match="the model store cannot be changed: File too large"):
                promote(store, C)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert store.current("main").read_model() == B
        assert not list((tmp_path / "state").rglob(".*"))

    def test_a_full_disk(self, tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
        place = small_disk("256k")
        store = Store(place / "state", shipped=tmp_path / "none")
        store.add(A, LABELS, name="main", width=8, height=8)
        promote(store, B)
        before = sorted(place.rglob("*"))
        with pytest.raises(ModelError, match="the model store cannot be changed: No space left on device"):
            promote(store, C * 100)
        with pytest.raises(ModelError, match="No space left on device"):
            store.add(C * 100, LABELS, name="main", width=8, height=8, replace=True)
        assert sorted(place.rglob("*")) == before
        assert store.current("main").read_model() == B
        assert store.find("main").read_model() == A


def _add_many(folder: Path, prefix: str) -> None:
    store = Store(folder / "state", shipped=folder / "shipped")
    for number in range(3):
        store.add(B, LABELS, name=f"{prefix}{number}", width=8, height=8)
