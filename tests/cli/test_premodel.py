"""`edged premodel` as a person types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edged.cli import main
from edged.store import Store
from tests.selection import retrained

pytest.importorskip("sklearn")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return retrained.write_photos(tmp_path / "photos")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device on which two retrained networks are installed, and one of them runs."""
    retrained.install(tmp_path / "state")
    path = tmp_path / "edged.toml"
    path.write_text(f'[storage]\nstate_dir = "{tmp_path / "state"}"\n[model]\nname = "scenes_a"\nthreads = 1\n')
    return path


def premodel(config: Path, *words: object) -> int:
    return main(["premodel", str(words[0]), "--config", str(config), *map(str, words[1:])])


def test_train_and_report(config: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = tmp_path / "curve.svg"
    arguments = ("--images", photos, "--labels", photos / "labels.csv")
    assert premodel(config, "train", *arguments, "--folds", 3, "--curve", curve) == 0
    told = capsys.readouterr()
    assert "edged: mobilenet_v2 (" in told.err
    assert ") is left out: it names other classes" in told.err
    assert "premodel default fitted" in told.out
    assert "no power sensor that can be read" in told.out or "mJ" in told.out
    assert curve.read_text().startswith("<svg")

    assert premodel(config, "report", "--json") == 0
    trained = json.loads(capsys.readouterr().out)
    singles = {row["name"]: row for row in trained["rows"] if row["kind"] == "single"}
    assert set(singles) == {"scenes_a", "scenes_b"}
    assert singles["scenes_a"]["top1"] > singles["scenes_b"]["top1"]
    assert trained["how"] == "3-fold cross-validation on 60 photos"
    assert len(trained["features"]) == 29

    assert premodel(config, "report", *arguments, "--json") == 0
    other = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in other["rows"]] == [row["name"] for row in trained["rows"]]
    assert other["how"].startswith("fitted before, measured on 60 photos")

    assert premodel(config, "report") == 0
    assert "learned" in capsys.readouterr().out

    Store(tmp_path / "state").remove("scenes_b")
    assert premodel(config, "report") == 2
    assert "fitted for scenes_b" in capsys.readouterr().err


def test_wrong_input_is_one_line(
    config: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: object) -> str:
        assert premodel(config, *words) == 2
        told = capsys.readouterr().err.splitlines()
        assert "Traceback" not in told
        return told[-1]

    shutil.copy(photos / "labels.csv", tmp_path / "good.csv")
    assert "no premodel 'default' is fitted here" in refused("report")
    assert "no premodel 'other' is fitted here" in refused("report", "--name", "other")
    assert "--name = '../x'" in refused("report", "--name", "../x")
    assert "no such folder of photos" in refused("train", "--images", tmp_path / "nowhere")
    assert "--folds 1: use 2 to 50" in refused("train", "--images", photos, "--folds", 1)
    (photos / "labels.csv").unlink()
    assert "labels.csv: no such file; labels are a CSV file" in refused("train", "--images", photos)
    bad = tmp_path / "bad.csv"
    for text, message in (
        ("file,label\na.jpg,cat\n", "no column 'class_index'"),
        ("file,class_index,label\n", "names no photo"),
        ("file,class_index,label\ncat0.jpg,6,cat\n", "line 2: class_index = '6': this pool has classes 0 to 5"),
        ("file,class_index,label\ncat0.jpg,-1,cat\n", "line 2: class_index = '-1'"),
        ("file,class_index,label\ncat0.jpg,1,cat\n", "line 2: class 1 is 'coffee' for this pool, not 'cat'"),
        ("file,class_index,label\nnone.jpg,0,cat\n", "line 2: file = 'none.jpg': no such file"),
        ("file,class_index,label\ncat0.jpg,0,cat\n", "only 1 photos can be read; at least 20 are needed"),
    ):
        bad.write_text(text)
        assert message in refused("train", "--images", photos, "--labels", bad)
    bad.write_bytes(b"\xff\xfe\x00")
    assert "is not a readable CSV file" in refused("train", "--images", photos, "--labels", bad)


def test_a_pool_must_name_the_same_classes(config: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = config.read_text()
    config.write_text(f'{text}[selection]\npool = ["scenes_a", "mobilenet_v2"]\n')
    assert premodel(config, "train", "--images", photos) == 2
    assert "scenes_a names 6 classes and mobilenet_v2 1000 other ones" in capsys.readouterr().err
    config.write_text(f'{text}[selection]\npool = ["scenes_a"]\n')
    assert premodel(config, "train", "--images", photos) == 2
    assert "at least two networks with the same labels are needed" in capsys.readouterr().err
    config.write_text(f'{text}[selection]\npool = ["scenes_a", "gone"]\n')
    assert premodel(config, "train", "--images", photos) == 1
    assert "no model 'gone' is installed" in capsys.readouterr().err


def test_an_unreadable_photo_is_left_out(config: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat0.jpg").write_bytes(b"no photo")
    assert premodel(config, "train", "--images", photos, "--folds", 2) == 0
    assert "cat0.jpg" in capsys.readouterr().err
    assert premodel(config, "report", "--json") == 0
    assert json.loads(capsys.readouterr().out)["photos"] == 59
