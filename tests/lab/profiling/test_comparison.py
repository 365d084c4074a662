"""Models side by side: which output is right, which photos count, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.cli import main
from edged.errors import ConfigError
from edged.lab.photos import LabeledPhoto, labeled_photos, spread
from tests.networks import SHIPPED, made
from tests.photos import shipped_photos, write_views


def check_compared(out: str, *, shipped_at_least: float, legacy_at_least: float) -> None:
    shipped, legacy = json.loads(out)["compare"]
    assert (shipped["judged"], legacy["judged"]) == (24, 24)
    assert shipped["accuracy"] >= shipped_at_least
    assert legacy["accuracy"] >= legacy_at_least  # 1001 outputs: one off would be 0
    assert shipped["accuracy_per_ms"] == pytest.approx(shipped["accuracy"] / shipped["ms"], rel=0.01)


def test_labels_are_folders_or_a_table(photos: Path, tmp_path: Path) -> None:
    assert [photo.label for photo in labeled_photos(photos, None)] == ["rocket", "rocket", "tabby"]
    table = tmp_path / "labels.csv"
    table.write_text("file,class_index,label\ntabby/0.jpg,281,tabby\n", encoding="utf-8")
    assert labeled_photos(photos, table) == [LabeledPhoto(photos / "tabby/0.jpg", "tabby", 281)]
    table.write_text("name,class\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"needs the columns file, and class_index or label"):
        labeled_photos(photos, table)
    table.write_text("file,class_index\na.jpg,many\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2: class_index 'many' is not a number"):
        labeled_photos(photos, table)


def test_a_limit_is_spread_over_the_whole() -> None:
    every = [LabeledPhoto(Path(str(number))) for number in range(100)]
    assert [photo.path.name for photo in spread(every, 3)] == ["0", "50", "99"]
    assert spread(every, 0) == every


def test_background_is_offset_and_accuracy_is_that_of_the_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    legacy_file, _ = made("made_v1_128").write(tmp_path, "legacy")
    imagenet = (SHIPPED / "labels.txt").read_text().splitlines()
    folder, rows = write_views(tmp_path / "photos", 4), ["file,class_index,label"]
    for path, label in shipped_photos().items():
        index = next(place for place, known in enumerate(imagenet) if known.split(",")[0] == label)
        rows += [f"{path.stem}/{view.name},{index},{label}" for view in sorted((folder / path.stem).iterdir())]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    arguments = ["--images", str(folder), "--labels", str(table), "--json"]
    assert main(["profile", "--compare", "mobilenet_v2", str(legacy_file), *arguments]) == 0
    check_compared(capsys.readouterr().out, shipped_at_least=0.8, legacy_at_least=0.8)


def test_background_is_offset_and_accuracy_is_real(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data / "imagenet"
    models = ["mobilenet_v2", str(shared_data / "models" / "mobilenet_v1_0.75_192_quant.tflite")]
    arguments = ["profile", "--compare", *models, "--images", str(folder), "--labels", str(folder / "labels.csv")]
    assert main([*arguments, "--limit", "24", "--json"]) == 0
    check_compared(capsys.readouterr().out, shipped_at_least=0.6, legacy_at_least=0.4)


def test_photos_without_a_known_label_leave_accuracy_out(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "rocket").rename(photos / "Zorblax")
    (photos / "tabby").rename(photos / "Quuxling")
    assert main(["profile", "--compare", "mobilenet_v2", "--images", str(photos)]) == 0
    assert "no image's label is among its classes" in capsys.readouterr().out


def test_a_log_shows_how_far_it_is(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--only", "online,batch", "--online", "2,3", "--batches", "1", "--batch-images", "2"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "mobilenet_v2:   0% online, 2 images" in lines
    assert any(line.endswith("batches of 1") for line in lines)
    assert lines[-1] == "mobilenet_v2: 100% done"
    assert main(["profile", "--compare", "mobilenet_v2", "--images", str(photos)]) == 0
    assert capsys.readouterr().err.startswith("compare:   0% photo 1 of ")


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "nosuch", "--only", "layers"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edged: no model 'nosuch' is installed")


def test_a_batch_that_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--only", "batch", "--batches", "1000000000", "--json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a batch of 1000000000 needs about" in line
