"""Detectors as a person installs, looks at and removes them: `edged models`, `edged check`, `edged doctor`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edged.cli import main
from edged.store import Store
from tests.detectors import TF1, Kind, make


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of which one camera wants a detector."""
    path = tmp_path / "edged.toml"
    path.write_text(
        f'[storage]\nstate_dir = "{tmp_path / "state"}"\n[cameras.door]\nsource = "pattern"\n'
        'regions = "detector:bright"\nscore_threshold = 0.4\n'
    )
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bright.tflite"
    path.write_bytes(make())
    return path


def edged(config: Path, command: str, *words: object) -> int:
    return main([*command.split(), "--config", str(config), *map(str, words)])


def test_a_detector_from_its_file_to_its_removal(config: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "models add", file, "--detector") == 0
    assert "bright (" in (out := capsys.readouterr().out)
    assert "), a detector, installed: " in out
    assert edged(config, "models list") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bright")]
    assert "96×96" in line
    assert line.rstrip().endswith("detector, used")
    assert edged(config, "models show", "bright", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["kind"], shown["outputs"][0]) == ("detector", "detector", "boxes")
    assert edged(config, "models verify", "bright") == 0
    assert ": sound; a detector, 96×96, at most 10 boxes, " in capsys.readouterr().out
    assert edged(config, "models use", "bright") == 1
    assert "bright is a detector, which names nothing" in capsys.readouterr().err
    assert edged(config, "check") == 0
    assert "# camera door, regions: bright (" in (out := capsys.readouterr().out)
    assert "96×96, boxes with a score of 0.4 or more: " in out
    edged(config, "doctor", "--here", "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["part"], one["status"]) for one in found if one["part"].startswith("regions")] == [
        ("regions door", "ok")
    ]
    # A damaged one stops neither edged nor an upgrade of it.
    model = Path(shown["path"]) / "model.tflite"
    model.write_bytes(model.read_bytes()[:-100])
    assert edged(config, "check") == 0
    assert "frames are classified whole: " in capsys.readouterr().out
    edged(config, "doctor", "--here", "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in found if one["part"].startswith("regions")] == ["warning"]
    # Neither does one that was given up.
    Store(Path(shown["path"]).parents[1]).detectors.begin("bright")
    assert edged(config, "check") == 0
    assert f"frames are classified whole: detector bright ({shown['id']}) was given up: " in capsys.readouterr().out
    assert edged(config, "models remove", "bright") == 0
    told = capsys.readouterr()
    assert told.out == "bright removed\n"
    assert told.err == 'edged: cameras.door.regions = "detector:bright" is configured, but not installed any more\n'


def test_the_name_of_its_file_may_be_no_text(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tflite"))
    odd.write_bytes(make())
    assert edged(config, "models add", odd, "--detector", "--name", "bright") == 0
    capsys.readouterr()
    assert edged(config, "models show", "bright", "--json") == 0
    assert json.loads(capsys.readouterr().out)["source"] == "added from caf\ufffd.tflite"


def test_what_is_missing_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "check", "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in told["findings"] if one["level"] == "error"] == ["cameras.door.regions"]
    assert edged(config, "doctor", "--here", "--json") == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (missing,) = [one for one in found if one["part"] == "regions door"]
    assert missing["status"] == "failed"
    assert "no detector 'bright' is installed" in missing["text"]
    assert "edged models add FILE.tflite --detector" in missing["advice"]


def test_what_is_no_detector_is_told(
    config: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        edged(config, "models add", file)
    assert "one of the arguments --labels --detector is required" in capsys.readouterr().err
    assert edged(config, "models add", file, "--detector", "--mean", "0.5") == 2
    assert "--mean belongs to a classifier; a detector names nothing" in capsys.readouterr().err
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    assert edged(config, "models add", file, "--labels", labels) == 1
    assert "it looks like a detector, which --detector installs" in capsys.readouterr().err
    untold = tmp_path / "untold.tflite"
    untold.write_bytes(make(Kind(outputs=TF1, direct=False)))
    assert edged(config, "models add", untold, "--detector") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"edged: {untold}: it cannot be told which of its outputs are boxes, classes, scores and")
    assert err.count("\n") == 1
