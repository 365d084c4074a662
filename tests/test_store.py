"""The store on a real disk: bundles, versions, what runs; interruptions, damage and a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged import damage
from edged.contract.messages import timestamp
from edged.errors import ConfigError, ModelError
from edged.store import Bundle, Manifest, Store, durable, parse_labels, read_bundle
from edged.store.history import LONGEST
from tests.conftest import REPOSITORY
from tests.full_disk import fill_up
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


def promote(store: Store, model: bytes, *, answers: bool = False) -> Bundle:
    return store.promote(store.write_version(model, LABELS, manifest(model)), "main", answers=answers)


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

    @pytest.mark.parametrize(
        ("top1", "accuracy"), [(1, 1.0), (1.0, 1.0), (100, 1.0), (0, 0.0), (1.5, 0.015), (True, None), ("0.5", None)]
    )
    def test_what_is_above_one_is_percent(self, tmp_path: Path, top1: Any, accuracy: float | None) -> None:
        bundle = write_bundle(tmp_path / "one", A, "main", accuracy={"quantized": {"top1": top1}})
        assert bundle.accuracy == accuracy
        assert bundle.accuracy is None or isinstance(bundle.accuracy, float)

    def test_a_training_that_was_not_measured_has_no_accuracy(self, tmp_path: Path) -> None:
        for number, training in enumerate([{"accuracy": {}}, {"accuracy": 3}, {"accuracy": {"quantized": None}}]):
            assert write_bundle(tmp_path / str(number), A, "main", training=training).accuracy is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [("width", 0), ("height", 0), ("crop", 0), ("crop", -0.1), ("crop", 1.01)],
    )
    def test_an_input_that_no_network_takes_is_refused(self, field: str, value: float) -> None:
        with pytest.raises(ValueError, match=field):
            manifest(A, input={"width": 1, "height": 1, field: value})
        assert manifest(A, input={"width": 1, "height": 1, "crop": 1}).input.crop == 1

    @pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" + "0" * 63, "A" * 64, "0" * 64 + "\n"])
    def test_what_is_no_sha256_is_refused(self, sha256: str) -> None:
        with pytest.raises(ValueError, match="sha256"):
            manifest(A, sha256=sha256)

    def test_a_manifest_says_itself_what_it_does_not_know_of_its_backbone(self) -> None:
        own = manifest(A, "own", backbone=None, backbone_sha256=None)
        assert (own.backbone, own.backbone_sha256) == ("own", own.sha256)
        other = manifest(A, "own", backbone="other", backbone_sha256="0" * 64)
        assert (other.backbone, other.backbone_sha256) == ("other", "0" * 64)
        assert Manifest.model_validate_json(other.encode()) == other
        with pytest.raises(ValueError, match="valid dictionary"):
            Manifest.model_validate([])

    def test_a_manifest_is_written_for_people_too(self) -> None:
        text = manifest(A, "main", source="Übung").encode().decode()
        assert "Übung" in text
        assert text.startswith('{\n  "v": 1,')
        assert text.endswith("}\n")
        assert "parent" not in text, "what is not known is left out"
        assert manifest(A).tuned is False
        newer = manifest(A, input={"width": 8, "height": 6, "mean": 0.5}, colour="blue")
        assert Manifest.model_validate_json(newer.encode()) == newer, "what a newer edged has said is kept"
        assert '"mean": 0.5' in newer.encode().decode()

    def test_what_a_model_was_made_of_comes_back(self, store: Store) -> None:
        taught = {"i3": "cat", "i1": "dog", "i2": "cat", "ü": "Käse"}
        version = store.write_version(B, LABELS, manifest(B), taught)
        assert version.read_taught() == taught
        text = (version.path / "taught.json").read_text(encoding="utf-8")
        assert text == '{"Käse": ["ü"], "cat": ["i2", "i3"], "dog": ["i1"]}\n', "the same images, the same file"
        assert store.promote(version, "main").read_taught() == taught
        assert store.write_version(C, LABELS, manifest(C)).read_taught() is None
        for damaged in (b"{", b"[]", b'{"cat": 3}', b"\xff"):
            (version.path / "taught.json").write_bytes(damaged)
            assert version.read_taught() is None

    def test_what_heads_said_of_images_that_they_were_not_made_of_comes_back(self, store: Store) -> None:
        version = store.write_version(B, LABELS, manifest(B), {"i1": "cat"}, left_out=b"answers")
        assert version.read_left_out() == b"answers"
        assert store.promote(version, "main").read_left_out() == b"answers"
        assert store.write_version(C, LABELS, manifest(C)).read_left_out() is None

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "contains no label"),
            (b" \n\n", "contains no label"),
            (b"\ncat", "line 1 is empty"),
            (b"cat\n \ndog", "line 2 is empty"),
            (b"\xff", "line 1 is not UTF-8"),
            (b"a\nb\nc\xffd\n", "line 3 is not UTF-8"),
            (b"\n\xff", "line 2 is not UTF-8"),
        ],
    )
    def test_the_line_that_is_wrong_is_named(self, data: bytes, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_labels(data)

    def test_what_cannot_be_read_is_said_with_its_reason(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none: no such model folder"):
            read_bundle(tmp_path / "none")
        bundle = write_bundle(tmp_path / "one", A, "main")
        (bundle.path / "model.tflite").unlink()
        (bundle.path / "model.tflite").mkdir()
        with pytest.raises(ModelError, match=r"model\.tflite: cannot be read: Is a directory"):
            bundle.read_model()
        with pytest.raises(ModelError, match=r"model\.tflite: no such file"):
            read_bundle(bundle.path)

    def test_labels_keep_what_people_wrote(self) -> None:
        assert parse_labels("\ufeffa, b\r\nplant/pot\r\nа\u200cб\r\n\n".encode()) == ("a, b", "plant/pot", "а\u200cб")

    @pytest.mark.parametrize("char", ["\u2028", "\u202e", "\u200b", "\x1b", "\x85", "\ue000"])
    def test_a_label_that_cannot_be_shown_is_damage_and_is_not_written_either(self, tmp_path: Path, char: str) -> None:
        bundle = write_bundle(tmp_path / "one", A, "main")
        (bundle.path / "labels.txt").write_text(f"good\nb{char}d\n")
        with pytest.raises(ModelError, match=r"labels\.txt: line 2: label 'b.*d': contains") as caught:
            read_bundle(bundle.path)
        assert str(caught.value).isascii()
        with pytest.raises(ModelError, match=r"label 'b.*d': contains"):
            Store(tmp_path / "state").add(B, ["a", f"b{char}d"], name="other", width=8, height=8)


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
            with pytest.raises(ModelError, match=r"labels must be|control character"):
                store.add(B, labels, name="other", width=8, height=8)

    def test_what_is_told_of_an_added_model_is_kept(self, store: Store) -> None:
        lineage = {"name": "wrong", "source": "lineage", "licence": "lineage", "backbone": "b", "tuned": True}
        made = store.add(B, LABELS, name="other", width=8, height=6, crop=0.5, source="said", lineage=lineage)
        assert made == store.find("other")
        told = made.manifest
        assert (told.name, told.source, told.licence, told.backbone, told.tuned) == (
            "other",
            "said",
            "lineage",
            "b",
            True,
        )
        assert (told.input.width, told.input.height, told.input.crop) == (8, 6, 0.5)
        assert made.labels == ("cat", "dog")
        assert made.manifest.sha256 == hashlib.sha256(B).hexdigest()
        plain = store.add(C, LABELS, name="plain", width=8, height=6, accuracy={"quantized": {"top1": 0.5}})
        assert (plain.manifest.input.crop, plain.accuracy, plain.manifest.source) == (0.875, 0.5, None)

    def test_an_added_model_is_not_replaced_unasked(self, store: Store) -> None:
        store.add(B, LABELS, name="other", width=8, height=8)
        with pytest.raises(ConfigError, match="a model named other is installed already"):
            store.add(C, LABELS, name="other", width=8, height=8)
        assert store.find("other").read_model() == B
        assert store.add(C, LABELS, name="other", width=8, height=8, replace=True).read_model() == C
        assert [path.name for path in (store.path / "models").iterdir()] == ["other"]

    def test_of_versions_of_one_name_the_newest_is_found(self, store: Store) -> None:
        for model, at in ((B, 2000), (C, 3000), (D, 1000)):
            os.utime(store.write_version(model, LABELS, manifest(model, "flowers")).path, ns=(0, at))
        assert store.find("flowers").read_model() == C
        assert [version.read_model() for version in store.versions()] == [C, B, D]
        folders = store.folders()
        assert [folder.name for folder in folders] == ["main", *(bundle_id_of(model) for model in (C, B, D))]

    def test_an_installed_name_comes_before_a_version_of_it(self, store: Store) -> None:
        store.write_version(B, LABELS, manifest(B))
        assert store.find("main").read_model() == A

    def test_what_is_installed_is_listed_by_name(self, store: Store) -> None:
        for name in ("zoo", "apple", "nut"):
            store.add(B, LABELS, name=name, width=8, height=8)
        assert [bundle.name for bundle in store.installed()] == ["apple", "main", "nut", "zoo"]
        with pytest.raises(ModelError, match="no model 'pear' is installed; installed: apple, main, nut, zoo;"):
            store.find("pear")

    def test_where_nothing_is_installed_that_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="installed: none;"):
            Store(tmp_path / "state", shipped=tmp_path / "none").find("main")

    def test_hidden_folders_and_files_are_no_models(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "shipped" / ".hidden").mkdir()
        (tmp_path / "shipped" / "README").write_text("")
        assert [folder.name for folder in store.folders()] == ["main"]

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
        assert store.current("main").read_model() == B
        assert [store.rollback("main").read_model() for _ in range(3)] == [C, B, A]
        assert store.previous("main") is None

    def test_a_retrained_one_stays_on_the_way_back_when_the_old_one_was_used_again(self, store: Store) -> None:
        promote(store, B)
        store.promote(store.find("main"), "main")
        assert [store.rollback("main").read_model() for _ in range(2)] == [B, A]

    def test_a_rollback_never_takes_what_runs(self, store: Store) -> None:
        for model in (B, C, B):
            promote(store, model)
        (store.path / "versions" / bundle_id_of(C) / "model.tflite").write_bytes(b"")
        assert store.rollback("main").read_model() == A

    def test_only_so_many_changes_are_remembered(self, store: Store) -> None:
        for _ in range(LONGEST):
            promote(store, B)
            promote(store, C)
        assert len(json.loads((store.path / "history.json").read_bytes())["ids"]) == LONGEST

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

    @pytest.mark.parametrize("damage", ["cut", "empty", "gone", "a folder"])
    def test_what_runs_survives_the_loss_of_the_history(
        self, store: Store, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        promote(store, B)
        promote(store, C)
        for second, model in enumerate((A, B, C)):  # a file system's clock is coarse
            os.utime(store.path / "versions" / bundle_id_of(model), (second, second))
        history = store.path / "history.json"
        content = history.read_bytes()
        history.unlink()
        if damage == "a folder":
            history.mkdir()
        elif damage != "gone":
            history.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        for _ in range(2):
            assert store.current("main").read_model() == C
        assert caplog.text.count("history.json: damaged; what ran before") == 1
        assert model_of(store.previous("main")) == B
        if damage != "a folder":
            promote(store, D)
            assert [store.rollback("main").read_model() for _ in range(2)] == [C, B]

    def test_a_lost_history_is_read_off_the_versions_without_the_one_that_failed(self, store: Store) -> None:
        kept = [promote(store, model) for model in (B, C, D)]
        for second, version in enumerate(kept, 1):
            os.utime(version.path, (second, second))
        os.utime(store.path / "versions" / bundle_id_of(A), (9, 9))
        store.write_version(b"e", LABELS, manifest(b"e"))
        store.give_up(kept[2].id, [kept[1].id], "main", "no reason")
        (store.path / "history.json").write_text("{")
        assert store.previous("main").id == kept[0].id, "what is newer never ran, or was rolled back"
        os.utime(store.path / "versions" / bundle_id_of(A), (0, 0))
        assert [store.rollback("main").id for _ in range(2)] == [kept[0].id, bundle_id_of(A)]
        with pytest.raises(
            ModelError, match=f"{bundle_id_of(A)} has no version before it; another version answers after"
        ):
            store.rollback("main")
        (store.path / "history.json").unlink()
        (store.path / "current").unlink()
        with pytest.raises(ModelError, match=r"main runs as it was installed; another version answers after .*: "):
            store.rollback("main")

    def test_what_ran_last_survives_the_loss_of_the_link(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        promote(store, B)
        promote(store, C)
        (store.path / "current").unlink()
        for _ in range(2):
            assert store.current("main").read_model() == C
        assert caplog.text.count("current: is no link any more; ") == 1
        assert store.rollback("main").read_model() == B

    def test_a_link_that_the_history_lacks_comes_after_it(self, store: Store) -> None:
        promote(store, B)
        older = (store.path / "history.json").read_bytes()
        promote(store, C)
        (store.path / "history.json").write_bytes(older)
        assert [store.current("main").read_model(), store.rollback("main").read_model()] == [C, B]

    def test_what_is_promoted_again_is_the_newest_version(self, store: Store) -> None:
        first = promote(store, B)
        os.utime(first.path, ns=(0, 1000))
        store.write_version(C, LABELS, manifest(C))
        assert store.versions()[0].read_model() == C
        promote(store, B)
        assert store.versions()[0].read_model() == B

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

    def test_prune_begins_with_what_was_promoted_or_written_longest_ago(self, store: Store) -> None:
        ids = [store.write_version(b"%d" % n, LABELS, manifest(b"%d" % n, "spare")).id for n in range(5)]
        for number, at in enumerate([30, 10, 50, 20, 40]):
            os.utime(store.path / "versions" / ids[number], ns=(0, at))
        assert store.prune(keep=3) == [ids[3], ids[1]]
        assert store.prune(keep=3) == []
        assert store.prune(keep=-1) == [ids[2], ids[4], ids[0]]

    def test_what_is_promoted_now_is_the_newest_whatever_the_clock_says(self, store: Store) -> None:
        """Two within one tick of the kernel's clock, and one after the clock was set back."""
        tomorrow = time.time_ns() + 86_400 * 10**9
        for model in (B, C, D):
            version = promote(store, model)
            assert store.versions()[0].id == version.id
            os.utime(version.path, ns=(tomorrow, tomorrow))
        assert promote(store, B).id == store.versions()[0].id

    def test_prune_keeps_five_of_itself(self, store: Store) -> None:
        for n in range(7):
            store.write_version(b"%d" % n, LABELS, manifest(b"%d" % n, "spare"))
        assert len(store.prune()) == 2

    def test_what_prune_cannot_remove_stays_and_is_told(
        self, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [store.write_version(b"%d" % n, LABELS, manifest(b"%d" % n, "spare")).id for n in range(3)]
        remove = durable.remove_folder

        def refuse_one(path: Path) -> None:
            if path.name == ids[1]:
                raise PermissionError(1, "Operation not permitted")
            remove(path)

        monkeypatch.setattr(durable, "remove_folder", refuse_one)
        assert set(store.prune(keep=0)) == {ids[0], ids[2]}
        assert f"version {ids[1]} stays" in caplog.text

    def test_discard_takes_what_nobody_wants_and_nothing_else(self, store: Store) -> None:
        versions = [promote(store, model) for model in (B, C)]
        spare = store.write_version(D, LABELS, manifest(D))
        for version in (*versions, spare):
            store.discard(version.id)
        store.discard("../versions")
        store.discard("nothing")
        assert {version.id for version in store.versions()} == {*(one.id for one in versions), bundle_id_of(A)}
        store.discard(bundle_id_of(A))
        assert {version.id for version in store.versions()} == {one.id for one in versions}

    def test_a_person_removes_what_neither_runs_nor_is_gone_back_to(self, store: Store) -> None:
        older, previous, current = (promote(store, model).id for model in (B, C, D))
        with pytest.raises(ModelError, match=f"version {current} is current and stays"):
            store.remove_version(current, previous=True)
        with pytest.raises(ModelError, match=f"version {previous} is what a rollback goes back to"):
            store.remove_version(previous)
        with pytest.raises(ModelError, match="there is no version nothing"):
            store.remove_version("nothing")
        (store.path / "versions" / older / "model.tflite").write_bytes(b"damaged")
        store.remove_version(older)
        assert {version.id for version in store.versions()} == {bundle_id_of(A), previous, current}
        store.remove_version(previous, previous=True)
        assert model_of(store.previous("main")) == A
        assert store.current("main").read_model() == D

    def test_the_same_model_is_written_once_and_its_other_files_where_they_differ(self, store: Store) -> None:
        version = store.write_version(B, LABELS, manifest(B), {"i1": "cat"})
        before = {path.name: path.stat().st_ino for path in version.path.iterdir()}
        assert store.write_version(B, LABELS, manifest(B), {"i1": "cat"}) == version
        assert {path.name: path.stat().st_ino for path in version.path.iterdir()} == before
        (version.path / "taught.json").unlink()
        again = store.write_version(B, ["chat", "chien"], manifest(B), {"i2": "cat"})
        after = {path.name: path.stat().st_ino for path in version.path.iterdir()}
        assert {name for name in before if after[name] == before[name]} >= {"model.tflite", "manifest.json"}
        assert (again.labels, again.read_taught()) == (("chat", "chien"), {"i2": "cat"})

    def test_promoting_says_what_runs(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            version = promote(store, B)
            store.rollback("main")
        assert f"model main ({version.id}) is current" in caplog.text
        assert f"model rolled back to main ({bundle_id_of(A)})" in caplog.text


class TestTrial:
    """`begin` is called when a daemon starts; one that ends in order says `paused`."""

    def test_nothing_is_on_trial_as_installed(self, store: Store) -> None:
        assert store.begin("main") == []
        store.paused()
        assert not (store.path / "trial.json").exists()

    def test_a_version_that_ends_the_device_is_given_up_at_the_next_start(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = promote(store, B, answers=True)
        store.proved(first.id)
        store.settled(first.id)
        failing = promote(store, C, answers=True)
        assert store.begin("main") == [first.id, bundle_id_of(A)]
        assert store.current("main").id == first.id
        told = store.fallback
        assert told is not None
        assert (told.id, told.reason) == (failing.id, "the daemon ended while it was on trial")
        assert f"model {failing.id} is given up" in caplog.text
        assert store.begin("main") == [first.id, bundle_id_of(A)]
        assert store.fallback == told, "until somebody changes the model"
        promote(store, D)
        assert store.fallback is None

    def test_what_was_promoted_without_a_daemon_gets_its_start(self, store: Store) -> None:
        new = promote(store, B)
        assert store.begin("main")[0] == new.id
        assert store.begin("main") == [bundle_id_of(A)], "the first start did not end in order"

    def test_an_end_in_order_is_held_against_nobody(self, store: Store) -> None:
        new = promote(store, B, answers=True)
        for _ in range(3):
            store.paused()
            assert store.begin("main")[0] == new.id

    def test_one_that_is_proven_may_fail_twice_and_not_thrice(self, store: Store) -> None:
        new = promote(store, B, answers=True)
        store.proved(new.id)
        assert [store.begin("main")[0] for _ in range(3)] == [new.id, new.id, bundle_id_of(A)]
        assert store.fallback is not None
        assert store.fallback.reason == "the daemon ended 3 times soon after it began to answer"

    def test_one_that_has_settled_is_never_blamed(self, store: Store) -> None:
        new = promote(store, B, answers=True)
        store.proved(new.id)
        store.settled(new.id)
        assert {store.begin("main")[0] for _ in range(10)} == {new.id}

    def test_another_version_proves_nothing(self, store: Store) -> None:
        new = promote(store, B, answers=True)
        store.proved(bundle_id_of(A))
        store.settled(bundle_id_of(A))
        assert store.begin("main")[0] != new.id

    def test_what_runs_and_is_promoted_again_is_not_tried_again(self, store: Store) -> None:
        new = promote(store, B, answers=True)
        store.proved(new.id)
        store.settled(new.id)
        promote(store, B, answers=True)
        assert store.begin("main")[0] == new.id

    def test_what_a_rollback_brings_is_on_trial_too(self, store: Store) -> None:
        promote(store, B)
        older = store.rollback("main", answers=True)
        assert store.begin("main") == []
        assert store.fallback is not None
        assert store.fallback.id == older.id
        assert store.current("main").path == store.find("main").path

    def test_without_a_version_before_it_the_installed_model_runs(self, store: Store) -> None:
        new = promote(store, B)
        shutil.rmtree(store.path / "versions" / bundle_id_of(A))
        store.give_up(new.id, [bundle_id_of(A)], "main", "no reason")
        assert store.current("main").path == store.find("main").path
        assert store.begin("main") == []
        assert store.previous("main") is None

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 3}'])
    def test_a_damaged_trial_blames_nobody(self, store: Store, content: bytes) -> None:
        new = promote(store, B, answers=True)
        (store.path / "trial.json").write_bytes(content)
        assert store.begin("main")[0] == new.id
        store.proved(new.id)

    @pytest.mark.parametrize("content", [b"", b"{", b'{"id": "x"}'])
    def test_a_damaged_fallback_says_that_nothing_is_known(
        self, store: Store, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        promote(store, B)
        assert store.fallback is None
        assert "fallback.json" not in caplog.text
        (store.path / "fallback.json").write_bytes(content)
        assert store.fallback is None
        assert "fallback.json: damaged; which version has failed is not known" in caplog.text

    def test_a_disk_that_takes_nothing_keeps_no_daemon_from_starting(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        promote(store, B, answers=True)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(durable, "write_file", full)
        assert store.begin("main") == [bundle_id_of(A)]
        assert "is on trial, which cannot be kept" in caplog.text

    @pytest.mark.parametrize(("answers", "tries"), [(True, 2), (False, 1)])
    def test_a_full_disk_counts_and_tells_it(
        self, tmp_path: Path, small_disk: Callable[[str], Path], answers: bool, tries: int
    ) -> None:
        place = small_disk("512k")
        write_bundle(tmp_path / "shipped" / "main", A, "main")
        store = Store(place / "state", shipped=tmp_path / "shipped")
        new = promote(store, B, answers=answers)
        if answers:
            store.proved(new.id)
        fill_up(place / "fill")
        found = [(store := Store(place / "state", shipped=tmp_path / "shipped")).begin("main")[0] for _ in range(5)]
        assert found == [new.id] * tries + [bundle_id_of(A)] * (5 - tries)
        told = store.fallback
        assert told is not None
        assert (told.id, told.reason.startswith("the daemon ended")) == (new.id, True)
        store.paused(bundle_id_of(A))
        assert store.begin("main") == [bundle_id_of(A)], "the version before it does not acquit it"
        (place / "fill").unlink()
        assert store.begin("main") == [bundle_id_of(A)]
        assert store.current("main").id == bundle_id_of(A)
        assert Store(place / "state").fallback is not None, "now on disk"

    def test_a_version_whose_trial_cannot_be_counted_is_not_tried(
        self, tmp_path: Path, small_disk: Callable[[str], Path]
    ) -> None:
        place = small_disk("512k")
        write_bundle(tmp_path / "shipped" / "main", A, "main")
        store = Store(place / "state", shipped=tmp_path / "shipped")
        new = promote(store, B)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        assert store.begin("main") == [bundle_id_of(A)]
        told = store.fallback
        assert told is not None
        assert (told.id, "no start can be counted" in told.reason) == (new.id, True)
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        assert store.begin("main") == [new.id, bundle_id_of(A)]


def test_who_made_a_model_is_known_of_the_version_that_answers_too(store: Store) -> None:
    added = store.add(b"signed", ["a", "b"], name="signed", width=8, height=8, signature="by whom\n")
    version = store.promote(added, "main")
    assert (version.path != added.path, version.read_signature()) == (True, "by whom\n")
    assert store.promote(version, "main").read_signature() == "by whom\n"
    unsigned = store.add(b"signed", ["a", "c"], name="signed", width=8, height=8, replace=True)
    assert store.promote(unsigned, "main").read_signature() is None, "it was of other labels"


def model_of(bundle: Bundle | None) -> bytes | None:
    return None if bundle is None else bundle.read_model()


class TestWrongKind:
    """A folder where a file belongs, as a backup that is put back by hand leaves one."""

    FILES = ("fallback.json", "trial.json", "history.json", "current")

    @pytest.fixture
    def two(self, store: Store) -> list[Bundle]:
        versions = [promote(store, B), promote(store, C)]
        for at, model in enumerate((A, B, C)):  # in less time than the disk's clock tells apart
            os.utime(store.path / "versions" / bundle_id_of(model), (at, at))
        return versions

    def put_folder(self, store: Store, name: str) -> Path:
        path = store.path / name
        if os.path.lexists(path):
            path.unlink()
        path.mkdir()
        (path / "kept").write_text("by somebody")
        return path

    @pytest.mark.parametrize("name", FILES)
    def test_a_promotion_sets_it_aside(self, store: Store, two: list[Bundle], name: str) -> None:
        path = self.put_folder(store, name)
        assert promote(store, D).id == store.current("main").id == bundle_id_of(D)
        assert (store.path / f"{name}.corrupt" / "kept").read_text() == "by somebody"
        assert path.is_symlink() == (name == "current")
        assert not path.is_dir() or path.is_symlink()
        assert any(f"{name}: unusable (a folder, where a file belongs)" in line for line in damage.told())
        assert store.fallback is None

    @pytest.mark.parametrize("name", FILES)
    def test_a_rollback_goes_back(self, store: Store, two: list[Bundle], name: str) -> None:
        self.put_folder(store, name)
        assert store.rollback("main").id == store.current("main").id == two[0].id

    @pytest.mark.parametrize("name", FILES)
    def test_a_version_that_fails_is_given_up(self, store: Store, two: list[Bundle], name: str) -> None:
        self.put_folder(store, name)
        store.give_up(two[1].id, [], "main", "it fails")
        assert store.current("main").read_model() == A, "the installed model, when no other version will do"
        assert store.fallback is not None
        assert store.fallback.id == two[1].id


class TestOneBit:
    """Whichever bit of a small file has changed: the device finds something to run, and says what, without an error."""

    @pytest.mark.parametrize("name", ["history.json", "trial.json", "fallback.json"])
    def test_something_runs(self, store: Store, name: str) -> None:
        promote(store, B)
        promote(store, C)
        store.give_up(bundle_id_of(C), [bundle_id_of(B)], "main", "for the test")
        told = (store.path / "fallback.json").read_bytes()
        promote(store, D)
        (store.path / "fallback.json").write_bytes(told)
        sound = (store.path / name).read_bytes()
        for place in range(8 * min(len(sound), 200)):  # the rest of trial.json are spaces
            changed = bytearray(sound)
            changed[place // 8] ^= 1 << place % 8
            (store.path / name).write_bytes(changed)
            again = Store(store.path, shipped=store.path.parent / "shipped")
            assert again.current("main").read_model() in (A, B, D)
            again.previous("main")
            if (fallback := again.fallback) is not None:
                timestamp(fallback.since.timestamp())  # as `model` tells it
            again.begin("main")


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

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
    def test_who_may_only_read_clears_nothing(self, store: Store, tmp_path: Path) -> None:
        promote(store, B)
        (store.path / ".tmp.0123456789ab").write_text("")
        os.chown(store.path, 12345, 12345)
        assert Store(store.path, shipped=tmp_path / "shipped").current("main").read_model() == B
        assert (store.path / ".tmp.0123456789ab").exists()
        os.chown(store.path, 0, 0)
        Store(store.path, shipped=tmp_path / "shipped")
        assert not (store.path / ".tmp.0123456789ab").exists()

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
