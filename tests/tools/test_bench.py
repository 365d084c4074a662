"""What `tools/bench retrain` makes of its runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.skipif(not (Path(sys.prefix) / "edged-1.sha256").is_file(), reason="not the environment of tools/test")
def test_files_are_taken_from_where_the_caller_stands_and_missed_before_anything_is_measured(tmp_path: Path) -> None:
    """`here/numbers.json` names a folder of the caller's, so that the clip is the first thing that is missing."""
    (tmp_path / "here").mkdir()
    for into, missing in (("here/numbers.json", "no.mp4: does not"), ("there/numbers.json", "there/numbers.json: the")):
        command = [str(REPOSITORY / "tools" / "bench"), "live", "--clip", "no.mp4", "--into", into]
        environment = {**os.environ, "EDGED_VENV": sys.prefix}
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 2
        assert f"error: {missing}" in run.stderr


def test_epochs_that_were_left_out_count_as_much_as_those_that_were_run() -> None:
    """A start of 10 s, 3 s for each epoch (2.5 s on the processor), 5 s of export: ten epochs take 45 s."""
    from benchmarks.keras_recipes import KerasRow, extrapolated

    def run(epochs: int) -> dict[str, object]:
        training = {"seconds": {"training": 2.0 + 3.0 * epochs}, "training_cpu_s": 1.0 + 2.5 * epochs}
        return training | {"wall_s": 15.0 + 3.0 * epochs, "cpu_s": 12.0 + 2.5 * epochs}

    row = extrapolated(KerasRow("Dense", "dense", False, 0), run(1), run(3))
    assert (row["epochs"], row["epochs_run"]) == (10, 3)
    assert row["cold_s"] == pytest.approx(45.0)
    assert row["cold_cpu_s"] == pytest.approx(37.0)


def test_the_first_run_is_cold_and_the_others_are_cached() -> None:
    from benchmarks.keras_recipes import KerasRow, summary

    runs = [{"wall_s": wall, "cpu_s": 2 * wall, "int8": share} for wall, share in ((90, 0.9), (20, 0.8), (30, 0.85))]
    row = summary(KerasRow("Frigate", "frigate", True, 3, unit=True), runs)
    assert (row["cold_s"], row["cached_s"], row["cached_cpu_s"], row["epochs"]) == (90, 25, 50, 50)
    assert row["int8"] == pytest.approx(0.85)
    assert row["sd"] == pytest.approx((0.005 / 3) ** 0.5)


def test_a_run_takes_the_place_of_an_older_one_of_the_same_backbones(tmp_path: Path) -> None:
    from benchmarks.retrain import add_to

    file = tmp_path / "retrain.json"
    for name, cores in (("a", 1), ("b", 2), ("a", 3)):
        add_to(file, {"backbones": {name: {}}, "cores": cores})
    assert [(list(run["backbones"]), run["cores"]) for run in json.loads(file.read_text())] == [(["b"], 2), (["a"], 3)]


def test_sets_of_photos_are_as_large_as_they_are_called(tmp_path: Path, shared_data: Path) -> None:
    from benchmarks.finetuning import TARGETS

    counted = {}
    for target in TARGETS:
        folder = target.make(shared_data, tmp_path / target.name)
        counted[target.name] = [len(list(label.iterdir())) for label in sorted(folder.iterdir())]
    assert counted["flowers60"] == [60] * 5
    assert counted["flowers200"] == [200] * 5
    assert len(counted["animals30"]) == 7
    assert max(counted["animals30"]) == 30
