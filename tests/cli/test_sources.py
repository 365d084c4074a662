"""`edged sources rank` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged import resources
from edged.cli import main
from edged.store import Store, read_bundle
from edged.zoo import install
from tests.albums import LABELS, make_album

SHIPPED = resources.shipped("models") / "mobilenet_v2"


def install_second(tmp_path: Path) -> None:
    shipped = read_bundle(SHIPPED)
    model = shipped.read_model() + bytes(16)  # the same network, as a file that edged cannot know
    install(Store(tmp_path / "state"), model, shipped.labels, name="other", origin="other")


def test_rank(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install_second(tmp_path)
    album = make_album(tmp_path / "album", 8)
    command = ["sources", "rank", "--images", str(album), "--workers", "1", "--config", str(config)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chosen"] == "mobilenet_v2"
    assert told["exact"] is False
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "start from mobilenet_v2: estimated from one pass of" in text
    assert "1,281,167" in text
    assert main([*command, "--evidence", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sources"][0]["score"] == told["sources"][1]["score"]  # the same network twice
    assert "log evidence" in told["reason"]
    assert main([*command, "--exact"]) == 0
    text = capsys.readouterr().out
    assert "measured by cross-validation on" in text
    assert "without transfer" in text


@pytest.mark.parametrize(
    ("labels", "second", "error"),
    [
        (LABELS, False, "edged: nothing to choose from: 1 backbone is installed (mobilenet_v2); `edged models list` "),
        (LABELS[:1], True, "edged: training needs at least two labels of 5 images or more each; there are: checks 8\n"),
        ((), True, "album: no such folder; one with a folder per label is needed\n"),
    ],
)
def test_mistakes_get_one_line(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labels: tuple[str, ...],
    second: bool,
    error: str,
) -> None:
    if second:
        install_second(tmp_path)
    album = make_album(tmp_path / "album", 8, labels)
    assert main(["sources", "rank", "--images", str(album), "--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert error in told
    assert told.count("\n") == 1
