"""`edged retrain` as people type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.instance import claim
from edged.store import Store, read_bundle
from tests.albums import LABELS, make_album, picture, put
from tests.waiting import PATIENCE_S


def edged(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return command(tmp_path, "retrain", *args)


def command(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EDGED_")}
    environment["EDGED_STORAGE__STATE_DIR"] = str(tmp_path / "state")
    return subprocess.run(
        [sys.executable, "-m", "edged", *args],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=PATIENCE_S,
    )


def test_a_folder_becomes_a_bundle(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 12)
    put(album / LABELS[0] / "cut.jpg", picture(LABELS[0], 99)[:-100])
    done = edged(tmp_path, "--images", str(album), "--lr", "0.1", "--batch", "16", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "succeeded"
    assert [Path(one["file"]).name for one in told["report"]["skipped"]] == ["cut.jpg"]
    assert Store(tmp_path / "state").find(told["report"]["model"]).labels == LABELS

    out = tmp_path / "out"
    done = edged(tmp_path, "--images", str(album), "--lr", "0.1", "--batch", "16", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert read_bundle(out).id == told["report"]["model"]
    assert "cross-validated on 36 images" in done.stdout
    assert str(out) in done.stdout
    lines = done.stderr.splitlines()
    assert lines[0] == "retrain:   0% scan"
    assert list(dict.fromkeys(line.split()[2] for line in lines))[:3] == ["scan", "bottlenecks", "training"]


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["--lr", "0"], 2, "edged: argument --lr: '0': Input should be greater than 0 (see edged retrain --help)\n"),
        (["--lr", "nan"], 2, "edged: argument --lr: 'nan': Input should be "),
        (["--lr", "-1"], 2, "edged: argument --lr: '-1': Input should be greater than 0 "),
        (["--seed", "-1"], 2, "edged: argument --seed: '-1': Input should be greater than or equal to 0 "),
        (["--backbone", "resnet"], 1, "edged: backbone: no model 'resnet' is installed; installed: mobilenet_v2"),
        ([], 1, "edged: training needs at least two labels of 5 images or more each; there are: checks 8\n"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, args: list[str], code: int, error: str) -> None:
    album = make_album(tmp_path / "album", 8, LABELS[:1])
    done = edged(tmp_path, "--images", str(album), *args)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.removeprefix("retrain:   0% scan\n").startswith(error)
    assert done.stderr.removeprefix("retrain:   0% scan\n").count("\n") == 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = edged(tmp_path, "--images", str(tmp_path / "nowhere"), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"edged: --images {tmp_path / 'nowhere'}: no such folder; one with a folder per label is needed\n"
    )


def test_nobody_waits_for_a_training_that_cannot_be_written(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 8)
    done = edged(tmp_path, "--images", str(album), "--out", str(album))
    assert done.returncode == 1
    assert done.stderr == f"edged: {album}: is there already and is no bundle; name a new or empty folder\n"


def test_a_good_model_is_current_until_it_is_rolled_back(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 12)
    done = edged(tmp_path, "--images", str(album), "--batch", "16", "--json")
    told = json.loads(done.stdout)
    assert told["promoted"] is True
    store = Store(tmp_path / "state")
    assert store.current("mobilenet_v2").id == told["report"]["model"]
    assert f"({told['report']['model']}) is current: it answers when the daemon starts" in done.stderr
    assert command(tmp_path, "rollback").stdout.endswith("is current: it answers when the daemon starts\n")
    assert store.current("mobilenet_v2").manifest.training is None
    assert command(tmp_path, "models", "use", told["report"]["model"]).returncode == 0
    assert store.current("mobilenet_v2").id == told["report"]["model"]
    assert command(tmp_path, "models", "use", "no-such").returncode == 1

    out = tmp_path / "out"
    done = edged(tmp_path, "--images", str(album), "--batch", "16", "--seed", "5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "is current" not in done.stdout + done.stderr
    assert store.current("mobilenet_v2").id == told["report"]["model"]


def test_only_the_last_versions_stay(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 12)
    (tmp_path / "edged.toml").write_text("[retrain]\nbatch = 16\nepochs = 5\nmin_accuracy = 0.3\nkeep_versions = 2\n")
    config = ["--images", str(album), "--config", str(tmp_path / "edged.toml"), "--json", "--accept"]
    ids = [json.loads(edged(tmp_path, *config, "--seed", str(seed)).stdout)["report"]["model"] for seed in range(3)]
    assert [version.id for version in Store(tmp_path / "state").versions()] == ids[:0:-1]


def test_a_daemon_is_not_contradicted(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 12)
    give_back = claim(tmp_path / "state")
    try:
        done = edged(tmp_path, "--images", str(album), "--batch", "16")
        assert done.returncode == 0, done.stderr
        (version,) = Store(tmp_path / "state").versions()
        assert done.stderr.splitlines()[-1] == (
            f"edged: {version.id} is kept and not promoted: a daemon (process {os.getpid()}) uses "
            f"{tmp_path / 'state'}; ask it: `edgectl models use {version.id}`"
        )
        assert "promoted" not in done.stdout
        assert Store(tmp_path / "state").current("mobilenet_v2").id != version.id
        for args in (["rollback"], ["models", "use", version.id]):
            done = command(tmp_path, *args)
            assert done.returncode == 1
            assert f"ask it: `edgectl {' '.join(args)}`" in done.stderr
    finally:
        give_back()
