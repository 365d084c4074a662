"""Models side by side: which output is right, which photos count, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edged.cli import main
from edged.contract.reports import ComparedModel
from edged.errors import ConfigError
from edged.lab.photos import LabeledPhoto, labeled_photos, spread
from edged.lab.profiling import comparison
from edged.lab.profiling.comparison import Candidate, compare
from edged.lab.profiling.costs import costs
from edged.lab.profiling.profiler import describe_machine
from edged.sensors import Sensors, performance
from edged.sensors.host import HostSensors
from edged.sensors.tegra import TegraSensors
from edged.terminal.profile import print_comparison
from edged.vision.flatbuffer import unpack
from edged.vision.network import Network
from tests.networks import SHIPPED, made
from tests.photos import shipped_photos, write_views
from tests.selection.rails import Rails


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


class Answering:
    """A network that gives what it is told to, one answer after another."""

    def __init__(self, classes: int, answers: list[list[float]], times_ms: list[float]) -> None:
        self.classes = classes
        self._answers = iter(zip(answers, times_ms, strict=True))

    def prepare(self, image: Any) -> Any:
        return image

    def infer(self, prepared: Any) -> SimpleNamespace:
        assert prepared.shape[2] == 3
        scores, invoke_ms = next(self._answers)
        return SimpleNamespace(scores=np.array(scores, np.float32), invoke_ms=invoke_ms)


def compared(
    monkeypatch: pytest.MonkeyPatch, photos: list[LabeledPhoto], network: Answering, labels: list[str]
) -> ComparedModel:
    ticks = iter([0.0, 0.010, 1.0, 1.030, 2.0, 2.020, 3.0, 3.020, 4.0, 4.020, 5.0, 5.020])
    monkeypatch.setattr(comparison, "time", SimpleNamespace(process_time=lambda: next(ticks)))
    candidate = Candidate("it", (SHIPPED / "model.tflite").read_bytes(), network, labels)  # type: ignore[arg-type]  # answers only
    (row,) = compare([candidate], photos, lambda *_: None)
    return row


def photo(photos: Path, label: str | None = None, index: int | None = None) -> LabeledPhoto:
    return LabeledPhoto(photos / "tabby/0.jpg", label, index)


def test_a_row_by_hand(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [photo(photos, "b"), photo(photos, "a"), photo(photos, "g")]
    answers = [[0.1, 0.9, 0, 0, 0, 0, 0], [0.1, 0.9, 0, 0, 0, 0, 0], [0.1, 0.9, 0.2, 0.3, 0.4, 0, 0]]
    row = compared(monkeypatch, shown, Answering(7, answers, [3.0, 1.0, 2.00004]), list("abcdefg"))
    model = (SHIPPED / "model.tflite").read_bytes()
    counted = costs(unpack(model))
    assert row.to_json() == {
        "name": "it",
        "images": 3,
        "judged": 3,
        "accuracy": 0.3333,
        "top5": 0.6667,
        "ms": 2.0,
        "cpu_ms": 20.0,
        "mb": round(len(model) / 1e6, 3),
        "macs": sum(cost.macs for cost in counted),
        "params": sum(cost.params for cost in counted),
        "accuracy_per_ms": 0.16666,
    }


def test_of_equal_scores_the_first_output_counts_and_five_are_the_best(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [photo(photos, label) for label in "abef"]
    row = compared(monkeypatch, shown, Answering(7, [[0.5] * 7] * 4, [1.0] * 4), list("abcdefg"))
    assert (row.accuracy, row.top5) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("classes", "label", "index", "right"),
    [
        (3, "Dog, hound", None, 1),  # by its label, whatever the case
        (3, "dog", None, 1),  # by the first of its names
        (3, "hound", None, None),
        (3, " cat ", None, 0),
        (3, "cat, tabby", None, 0),  # by the first of the photo's names
        (3, "dog", 0, 1),  # a number means nothing to a network of other classes
        (3, None, 2, 2),  # unless it is all there is
        (3, None, 3, None),
        (3, None, None, None),
        (1000, "dog", 7, 7),  # ImageNet's networks share its numbers
        (1000, "dog", 1000, None),
        (1001, "dog", 7, 8),  # behind the background
        (1001, None, 999, 1000),
        (1001, None, 1000, None),
        (1001, "dog", None, 1),
    ],
)
def test_which_output_is_right(
    classes: int, label: str | None, index: int | None, right: int | None, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.0] * classes
    if right is not None:
        scores[right] = 1.0
    network = Answering(classes, [scores], [1.0])
    row = compared(monkeypatch, [photo(photos, label, index)], network, ["cat", "dog, hound", "dog"])
    assert (row.judged, row.accuracy) == ((0, None) if right is None else (1, 1.0))


def test_notes_say_what_did_not_count(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = LabeledPhoto(photos / "rocket/1.jpg", "a")

    def row_of(shown: list[LabeledPhoto]) -> ComparedModel:
        return compared(monkeypatch, shown, Answering(2, [[1.0, 0.0]] * 5, [1.0] * 5), ["a", "b"])

    row = row_of([photo(photos, "z"), broken])
    assert row.note == "it: no image's label is among its classes; accuracy is left out"
    assert (row.accuracy, row.top5, row.accuracy_per_ms, row.images) == (None, None, None, 1)
    assert row_of([photo(photos, "a"), photo(photos, "z"), broken]).note == "it: 1 of 2 images show one of its classes"
    assert row_of([photo(photos, "a"), broken]).note == "1 images cannot be read and do not count"
    assert row_of([photo(photos, "a")]).note is None
    with pytest.raises(ConfigError, match=r"none of the 2 images can be read, e\.g\. .*rocket/1\.jpg"):
        row_of([broken, broken])
    with pytest.raises(ConfigError, match="no image"):
        row_of([])


def test_every_photo_is_shown_to_all_in_turn_and_progress_is_told(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    order: list[str] = []

    class Named(Answering):
        def __init__(self, name: str) -> None:
            super().__init__(2, [[1.0, 0.0]] * 4, [1.0] * 4)
            self._name = name

        def infer(self, prepared: Any) -> SimpleNamespace:
            order.append(self._name)
            return super().infer(prepared)

    model = (SHIPPED / "model.tflite").read_bytes()
    both = [Candidate(name, model, Named(name), ["a", "b"]) for name in ("x", "y")]  # type: ignore[arg-type]  # answers only
    rows = compare(both, [photo(photos, "a")] * 4, lambda text, fraction: told.append((text, fraction)))
    assert order == ["x", "y"] * 4
    assert [row.name for row in rows] == ["x", "y"]
    assert told == [(f"photo {number + 1} of 4", number / 4) for number in range(4)]


def test_energy_is_told_where_a_sensor_tells_power(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rails = Rails(tmp_path / "tx2")
    rails.read(5000)
    monkeypatch.setattr("edged.lab.energy._POWER_S", 0.05)
    model = (SHIPPED / "model.tflite").read_bytes()

    def row_of(sensors: Sensors) -> ComparedModel:
        candidate = Candidate("it", model, Network(model), [])
        (row,) = compare([candidate], [photo(photos, "a")], lambda *_: None, sensors)
        return row

    powered, plain = row_of(TegraSensors(tmp_path / "tx2")), row_of(HostSensors(tmp_path / "nothing"))
    assert powered.energy_mj is not None
    assert powered.energy_mj > 0
    assert "energy_mj" not in plain.to_json()
    print_comparison(Console(width=80), [powered], describe_machine())
    assert "mJ" in capsys.readouterr().out
    print_comparison(Console(width=80), [plain], describe_machine())
    assert "energy: this machine has no power sensor that can be read" in capsys.readouterr().out


def test_every_profile_names_what_the_machine_was_set_to(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jetson = Path(__file__).parents[2] / "sensors" / "orin_nano_root"
    monkeypatch.setattr(performance.read_performance, "__defaults__", (jetson,))
    monkeypatch.setattr("edged.sensors.open_sensors", lambda: TegraSensors(jetson.with_name("tx2_root")))
    monkeypatch.setattr("edged.lab.energy._POWER_S", 0.05)
    profiled = ["profile", "--images", str(photos)]
    for command in (["--only", "online", "--online", "1"], ["--compare", "mobilenet_v2"]):
        assert main([*profiled, *command, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert all(row["energy_mj"] > 0 for row in told.get("compare", []))
        machine = told["machine"]
        assert (machine["nvpmodel"], machine["jetson_clocks"], machine["governor"]) == ("MAXN_SUPER", True, "schedutil")
        assert (machine["clock_mhz"], machine["clock_range_mhz"]["gpu"]) == ({"cpu": 1728, "gpu": 1020}, [1020, 1020])
        assert main([*profiled, *command]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert "L4T 36.4.7, nvpmodel MAXN_SUPER, clocks locked, governor schedutil, cpu at 1728 MHz, gpu" in printed
