"""`edged sources rank` as a person types it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edged import resources
from edged.cli import main
from edged.lab.sources import ranker
from edged.store import Store, read_bundle
from edged.zoo.install import install
from tests.albums import LABELS, make_album
from tests.networks import made

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
    assert told["chosen"] == "mobilenet_v2"  # of two with the same bytes the first by name
    assert (told["way"], told["exact"]) == ("exact", True)
    assert {one["images"] for one in told["sources"]} == {told["images"]}
    assert main(command) == 0
    text = capsys.readouterr().out
    assert f"start from mobilenet_v2: {told['images']} images: all networks saw all of them; " in text
    assert "± is one standard error of the accuracy, as if images were independent" in text
    assert main([*command, "--divergence"]) == 0
    text = capsys.readouterr().out
    assert "start from mobilenet_v2: estimated, without a look at labels: published top-1" in text
    assert "1,281,167" in text
    assert main([*command, "--evidence", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sources"][0]["score"] == told["sources"][1]["score"]  # the same network twice
    assert "log evidence" in told["reason"]
    assert main([*command, "--exact"]) == 0
    text = capsys.readouterr().out
    assert "all networks saw all of them" in text
    assert "without transfer" in text


def test_more_images_are_raced_over(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranker, "FEW", 10)
    install_second(tmp_path)
    album = make_album(tmp_path / "album", 8)
    command = ["sources", "rank", "--images", str(album), "--workers", "1", "--config", str(config)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chosen"] == "mobilenet_v2"  # its top-1 is known, the other's, with the same bytes, is not
    assert (told["way"], told["exact"]) == ("race", False)
    assert told["sources"][0]["images"] <= told["images"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "start from mobilenet_v2: race over " in text
    assert "score: mean probability of the right label" in text


@pytest.mark.parametrize(
    ("labels", "second", "error"),
    [
        (LABELS, False, "edged: nothing to choose from: 1 backbone is installed (mobilenet_v2); `edged models list` "),
        (LABELS[:1], True, "edged: training needs at least two labels of 5 images or more each; there are: checks 8\n"),
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


@pytest.mark.parametrize("command", [["sources", "rank"], ["retrain"], ["finetune"]])
def test_a_folder_that_is_not_there_is_wrong_usage(
    config: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--images", "nowhere", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert told == "edged: --images nowhere: no such folder; one with a folder per label is needed\n"


@pytest.mark.parametrize("command", [["sources", "rank"], ["premodel", "train"], ["finetune"]])
@pytest.mark.parametrize("seed", ["-1", str(2**63), "one"])
def test_a_seed_that_is_none_is_wrong_usage(
    config: Path, capsys: pytest.CaptureFixture[str], command: list[str], seed: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--images", ".", "--seed", seed, "--config", str(config)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"edged: argument --seed: '{seed}' is not a whole number from 0 to 2^63 - 1 " in told
    assert told.count("\n") == 1


def test_photos_that_were_copied_just_now_take_part(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_second(tmp_path)
    album = make_album(tmp_path / "album", 8)
    for file in album.rglob("*.*"):
        os.utime(file)
    assert main(["sources", "rank", "--images", str(album), "--workers", "1", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out)["images"] > 8


def test_limits_leave_out_what_the_device_cannot_afford(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = read_bundle(SHIPPED)
    install(Store(tmp_path / "state"), made("made_v1_128").model, made("made_v1_128").labels, name="small", origin="")
    install_second(tmp_path)
    album = make_album(tmp_path / "album", 8)
    command = ["sources", "rank", "--images", str(album), "--workers", "1", "--config", str(config)]
    assert main([*command, "--within", "100000", "--memory", "100000", "--json"]) == 0
    costs = {one["name"]: one for one in json.loads(capsys.readouterr().out)["sources"]}
    assert set(costs) == {shipped.name, "small", "other"}
    assert all(one["frame_ms"] > 0 and one["memory_mb"] > 0 for one in costs.values())
    assert costs["small"]["frame_ms"] < costs[shipped.name]["frame_ms"]
    assert main([*command, "--within", "0.0001"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("edged: none of the 3 installed networks is within the limits: small, the fastest, takes ")
    assert " ms a frame; small, the smallest, takes " in told
    assert told.endswith(" MB")


def test_limits_need_a_choice(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    album = make_album(tmp_path / "album", 8)
    assert main(["retrain", "--images", str(album), "--within", "5", "--config", str(config)]) == 2
    assert "they need --backbone auto" in capsys.readouterr().err
