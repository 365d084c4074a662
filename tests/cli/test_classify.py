"""`edged classify` on real photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged import resources
from edged.cli import main
from edged.cli.classify import _print_bars
from edged.types import LabelScore
from tests.conftest import HAS_SHARED_DATA, SHARED_DATA
from tests.networks import KINDS, made
from tests.photos import shipped_photos

SHIPPED = resources.shipped("models") / "mobilenet_v2"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    return path


def edged(config: Path, *words: object) -> int:
    return main(["classify", "--config", str(config), *map(str, words)])


SEEN = [(path, {label}) for path, label in shipped_photos().items()]
if HAS_SHARED_DATA:
    SEEN += [
        (SHARED_DATA / "photos" / "cat.bmp", {"Egyptian cat", "tabby"}),
        (SHARED_DATA / "photos" / "parrot.jpg", {"macaw"}),
        (SHARED_DATA / "photos" / "hot_dog.jpg", {"hotdog"}),
    ]


@pytest.mark.parametrize(("photo", "labels"), SEEN, ids=[path.name for path, _ in SEEN])
def test_sees_what_a_person_sees(
    config: Path, capsys: pytest.CaptureFixture[str], photo: Path, labels: set[str]
) -> None:
    assert edged(config, "--json", photo) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["label"].split(",")[0] in labels
    assert line["top"][0] == {"label": line["label"], "score": line["score"]}
    assert len(line["top"]) == 3
    assert set(line["latency_ms"]) == {"capture", "preprocess", "invoke", "total"}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_sees_the_photos(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    network = made(name)
    model, labels = network.write(tmp_path, name)
    photos = list(shipped_photos())
    assert edged(config, "--json", "--model", model, "--labels", labels, *photos) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {Path(line["file"]).name: line["label"] for line in lines} == network.names
    assert min(line["score"] for line in lines) > 0.5


def test_every_real_model_sees_the_parrot(
    config: Path, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "models"
    for entry in json.loads((folder / "manifest.json").read_text())["models"]:
        file, _, without_first = entry["labels"].partition(" ")
        labels = tmp_path / "labels.txt"
        lines = (folder / file).read_bytes().splitlines(keepends=True)
        labels.write_bytes(b"".join(lines[1:] if without_first else lines))
        words = ("--json", "--model", folder / entry["file"], "--labels", labels)
        assert edged(config, *words, shared_data / "photos" / "parrot.jpg") == 0
        label = json.loads(capsys.readouterr().out)["label"]
        if "bird" in entry["file"]:
            assert "Macaw" in label
        elif "insect" not in entry["file"]:
            assert label == "macaw"


def test_people_get_bars(config: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "--top", 2, photo) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(photo)
    assert "unknown: familiarity" in lines[1], "a picture of noise"
    assert lines[1].endswith("the limit is 2.0%; it looks most like")
    assert len(lines) == 4
    assert "%" in lines[2]


def test_what_was_never_taught_is_unknown_unless_nobody_wants_to_know(
    config: Path, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edged(config, "--json", photo) == 0
    strange = json.loads(capsys.readouterr().out)
    assert strange["label"] == "unknown"
    assert strange["familiarity"] < 0.02
    assert strange["score"] == strange["top"][0]["score"], "top still says what it looks like"
    monkeypatch.setenv("EDGED_MODEL__UNKNOWN", "0")
    assert edged(config, "--json", photo) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["label"] == plain["top"][0]["label"] == strange["top"][0]["label"]
    assert "familiarity" not in plain


def test_a_damaged_familiarity_costs_only_the_familiarity(
    config: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    (folder / "familiarity.npz").write_bytes(b"PK nothing")
    assert edged(config, "--json", "--model", folder, photo) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["label"] != "unknown"
    assert "damaged" in told.err


def test_a_familiarity_of_another_network_costs_only_the_familiarity(
    config: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    with np.load(SHIPPED / "familiarity.npz") as file:
        arrays = {name: file[name] for name in file.files}
    narrower = {name: arrays[name][..., :-1] for name in ("exemplars", "common", "weights") if name in arrays}
    np.savez(folder / "familiarity.npz", **{**arrays, **narrower})
    assert edged(config, "--json", "--model", folder, photo) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["label"] != "unknown"
    assert "its bottlenecks have 1279 features, the model's 1280" in told.err


@pytest.mark.parametrize("model", ["mobilenet_v2", "id", "folder"])
def test_ways_to_name_a_model(config: Path, photo: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    identity = json.loads((SHIPPED / "manifest.json").read_text())["sha256"][:12]
    named = {"id": identity, "folder": SHIPPED}.get(model, model)
    assert edged(config, "--json", "--model", named, photo) == 0
    assert json.loads(capsys.readouterr().out)["model"] == identity


def test_a_bare_file_has_numbers_for_labels(config: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "--json", "--model", SHIPPED / "model.tflite", photo) == 0
    assert json.loads(capsys.readouterr().out)["label"].isdecimal()


def test_bad_images_do_not_stop_the_others(
    config: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a photo")
    words = [tmp_path / "missing.jpg", tmp_path / "empty.jpg", tmp_path, tmp_path / "text.jpg", photo]
    assert edged(config, "--json", *words) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["file"] == str(photo)
    lines = output.err.splitlines()
    assert len(lines) == 4
    for word, line in zip(words, lines, strict=False):
        assert line.startswith(f"edged: {word}: ")
    assert "is a folder; name the photos in it" in lines[2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--model", "nothing"), 1, "no model 'nothing' is installed; installed: mobilenet_v2"),
        (("--model", "gone.tflite"), 1, "gone.tflite: cannot be read: No such file"),
        (("--model", "./gone"), 1, "gone: no such model folder"),
        (("--top", "0"), 2, "model.top = 0"),
        (("--runtime", "onyx"), 2, "model.runtime = 'onyx'"),
        (("--threads", "0"), 2, "model.threads = 0"),
    ],
)
def test_wrong_usage_gets_one_line(
    config: Path, photo: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    assert edged(config, *words, photo) == code
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1


def test_labels_of_which_nothing_is_left_get_no_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    top = [LabelScore("cat", 0.9994), LabelScore("a dog with a long name", 0.0006), LabelScore("none", 0.0004)]
    for columns, bars in (("80", True), ("40", False)):
        monkeypatch.setenv("COLUMNS", columns)
        _print_bars("one.jpg", top)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["one.jpg", "99.9%", "0.1%"]
        assert ("█" in lines[1]) is bars
        assert max(map(len, lines)) <= int(columns)
