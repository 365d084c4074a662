"""Networks with and without a background class in one pool: made ones, and real ones on real photos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edged.cli import main
from edged.store import Store, read_labels
from tests.networks import KINDS, SHIPPED, made
from tests.photos import shipped_photos, write_views

pytest.importorskip("sklearn")


def test_made_networks_with_and_without_background_make_one_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, imagenet = Store(tmp_path / "state"), read_labels(SHIPPED / "labels.txt")
    for name, short in (("made_v1_128", "small"), ("made_efficientnet", "good")):
        size = KINDS[name].size
        store.add(made(name).model, made(name).labels, name=short, width=size, height=size)
    folder, rows = write_views(tmp_path / "photos", 8), ["file,class_index,label,source"]
    for path, label in shipped_photos().items():
        index = next(place for place, known in enumerate(imagenet) if known.split(",")[0] == label)
        for number, view in enumerate(sorted((folder / path.stem).iterdir())):
            rows.append(f"{path.stem}/{view.name},{index},{label},{('odd', 'even')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = tmp_path / "edged.toml"
    config.write_text(f'[storage]\nstate_dir = "{tmp_path / "state"}"\n[model]\nthreads = 1\n')
    assert main(["premodel", "train", "--config", str(config), "--images", str(folder), "--folds", "3"]) == 0
    capsys.readouterr()
    assert main(["premodel", "report", "--config", str(config), "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert {"small", "good", "mobilenet_v2", "cascade", "learned", "oracle"} <= set(found)
    for name in ("small", "good", "mobilenet_v2", "learned"):
        assert found[name]["top1"] > 0.8  # a network that is one off, for its background, would have none
    assert found["oracle"]["top1"] >= max(found[name]["top1"] for name in ("small", "good", "mobilenet_v2"))
    assert set(found["good"]["top1_by_source"]) == {"odd", "even"}


def test_networks_with_and_without_background_make_one_pool(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, models = Store(tmp_path / "state"), shared_data / "models"
    labels = read_labels(models / "imagenet_labels.txt")
    small = (models / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    store.add(small, labels, name="small", width=128, height=128)
    good = (models / "efficientnet_lite0_224_uint8_ptq.tflite").read_bytes()
    store.add(good, labels[1:], name="good", width=224, height=224)
    with (shared_data / "imagenet" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::18]
    with (tmp_path / "some.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    config = tmp_path / "edged.toml"
    config.write_text(f'[storage]\nstate_dir = "{tmp_path / "state"}"\n[model]\nthreads = 1\n')
    words = ["--config", str(config), "--images", str(shared_data / "imagenet"), "--labels", str(tmp_path / "some.csv")]
    assert main(["premodel", "train", *words, "--folds", "3"]) == 0
    capsys.readouterr()
    assert main(["premodel", "report", "--config", str(config), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {row["name"]: row for row in report["rows"]}
    assert {"small", "good", "mobilenet_v2", "cascade", "learned", "oracle"} <= set(found)
    assert 0.3 < found["small"]["top1"] < 0.6
    assert 0.75 < found["good"]["top1"] < 0.95
    assert 0.7 < found["mobilenet_v2"]["top1"] < 0.9
    assert found["oracle"]["top1"] >= found["good"]["top1"]
    assert found["learned"]["top1"] > found["small"]["top1"]
    assert set(found["good"]["top1_by_source"]) == {"eli", "nips17", "imagen"}
