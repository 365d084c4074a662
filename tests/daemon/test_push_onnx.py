"""`edgectl models push FILE.onnx`: a classifier as PyTorch exports it, on a device that runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from edged.contract.commands import Command, ModelsAddArgs
from edged.ctl import main
from edged.daemon.models import ModelCommands
from edged.daemon.uploads import Uploads
from edged.errors import CommandError
from edged.settings import load
from edged.store import Store
from edged.vision.graph import parse_graph
from tests.albums import put
from tests.daemon.running import Running, Watcher
from tests.exported import CLASSES, MEAN, STD, exported
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")
PIXELS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
RETRAIN = {"EDGED_RETRAIN__BATCH": "16", "EDGED_RETRAIN__MIN_ACCURACY": "0.4", "EDGED_RETRAIN__TOLERANCE": "1"}
EXPORTED = Path(__file__).resolve().parents[1] / "pytorch"
WEIGHTS = "mobilenetv2-dynamo.onnx.data"  # so the other file calls it, whatever its own name
COLOURS = {"blue": (200, 60, 40), "green": (40, 200, 60), "red": (60, 40, 200)}


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def push(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run `edgectl models push ARGS` in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*args: object) -> Done:
        capfd.readouterr()
        common = ["--broker", broker.url, "--timeout", f"{PATIENCE_S:g}"]
        return Done(main([*common, "models", "push", *map(str, args)]), *capfd.readouterr())

    return call


def net(folder: Path) -> tuple[Path, Path]:
    """Write a classifier that PyTorch exported, in two files, the second with more than one part, and its labels."""
    file, labels = folder / "net.onnx", folder / "labels.txt"
    file.write_bytes((EXPORTED / "mobilenetv2-dynamo.onnx").read_bytes())
    (folder / WEIGHTS).write_bytes((EXPORTED / WEIGHTS).read_bytes() + bytes(2**19))
    labels.write_text("".join(f"class {number}\n" for number in range(CLASSES)))
    return file, labels


def album(folder: Path) -> None:
    """Draw 12 pictures of each colour, each with another noise."""
    for label, colour in COLOURS.items():
        for seed in range(12):
            random = np.random.default_rng([*colour, seed])
            image = np.clip(np.array(colour) + random.integers(-30, 31, (48, 64, 3)), 0, 255).astype(np.uint8)
            put(folder / label / f"{seed:02}.png", cv2.imencode(".png", image)[1].tobytes())


def job(seen: Watcher, command: str, /, **args: Any) -> dict[str, Any]:
    """The report of a command that succeeds."""
    _, done, _ = seen.command(command, **args)
    assert done is not None
    assert done["status"] == "succeeded", done
    return dict(done["report"])


def answers(seen: Watcher, model: str) -> None:
    """Wait for a result of a model."""
    wait_until(lambda: any(result["model"] == model for result in seen.decoded("result/main")[-20:]), what=model)


@needs_onnx
def test_it_is_sent_answers_is_retrained_and_taken_back(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    push: Callable[..., Done],
    tmp_path: Path,
) -> None:
    file, labels = net(tmp_path)
    whole = file.read_bytes()
    album(tmp_path / "device" / "state" / "images")
    seen = watch(broker)
    device = run(broker.url, environment=RETRAIN)
    seen.wait("result/main")
    file.write_bytes(whole[: len(whole) - 100])
    told = "edgectl: dut: models_add failed: net: truncated or damaged ONNX model\n"
    assert push(file, "--labels", labels, *PIXELS, "--json")[::2] == (1, told)
    file.write_bytes(whole)
    done = push(file, "--labels", labels, *PIXELS, "--crop", "1", "--use")
    assert done.code == 0, done.err
    store = Store(device.state_dir)
    bundle = store.find("net")
    assert f"net ({bundle.id}) installed; it answers" in done.out
    assert bundle.id != hashlib.sha256(whole).hexdigest()[:12], "in edged's form it is another file"
    assert (bundle.file.name, bundle.manifest.input.crop) == ("model.onnx", 1.0)
    assert bundle.labels == tuple(labels.read_text().splitlines())
    assert parse_graph(bundle.read_model()).outputs == bundle.manifest.outputs == ("logits", "bottleneck")
    told_pixels = {"mean": [*MEAN], "std": [*STD], "bgr": False}
    assert (bundle.manifest.model_extra or {})["normalisation"] == told_pixels
    answers(seen, bundle.id)
    trained = job(seen, "retrain", backbone="net")["model"]
    version = store.find(trained)
    assert (version.file.name, version.labels, version.manifest.backbone) == ("model.onnx", tuple(COLOURS), "net")
    answers(seen, trained)
    assert job(seen, "rollback")["id"] == bundle.id
    answers(seen, bundle.id)
    assert not list((device.state_dir / "uploads").glob(f"*{hashlib.sha256(whole).hexdigest()}*"))
    (tmp_path / WEIGHTS).unlink()
    told = f"edgectl: {tmp_path / WEIGHTS}: cannot be read: no such file or directory\n"
    assert push(file, "--labels", labels, *PIXELS)[::2] == (2, told)
    assert device.stop() == 0


def test_a_device_without_the_library_refuses_the_first_part(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    push: Callable[..., Done],
    tmp_path: Path,
) -> None:
    file, labels = net(tmp_path)
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    seen = watch(broker)
    device = run(broker.url, environment={"PYTHONPATH": paths})
    seen.wait("result/main")
    why = "this device runs no .onnx file: onnxruntime is not installed; pip install 'edged[onnx]'"
    told = f"edgectl: dut refuses net: models_chunk: {why}\n"
    assert push(file, "--labels", labels, *PIXELS, "--json")[::2] == (1, told)
    assert not list(device.state_dir.glob("uploads/*"))
    assert device.stop() == 0


@needs_onnx
def test_one_that_was_signed_stays_what_was_signed_and_any_other_gets_a_lineage_of_its_own(tmp_path: Path) -> None:
    settings = load(None, {"cameras": {"main": {"source": "pattern"}}, "storage": {"state_dir": tmp_path}})
    store, uploads = Store(tmp_path), Uploads(tmp_path / "uploads")
    commands = ModelCommands(settings, store, None, lambda _: None)  # type: ignore[arg-type]  # nothing answers here
    model = exported().data
    sha256 = hashlib.sha256(model).hexdigest()
    wanted = {
        "sha256": sha256,
        "name": "net",
        "labels": [f"class {number}" for number in range(CLASSES)],
        "normalisation": {"mean": MEAN, "std": STD},
        "manifest": {"name": "a", "sha256": sha256, "licence": "MIT"},
    }

    def add(**more: Any) -> dict[str, Any]:
        uploads.receive(sha256, len(model), 0, model)
        return commands.add(Command("c", ModelsAddArgs.model_validate({**wanted, **more})))

    with pytest.raises(CommandError, match="is signed, but not in the form that edged runs"):
        add(signature="by whomever")
    told = add()
    bundle = store.find("net")
    assert bundle.id == told["id"] != sha256[:12]
    assert (bundle.manifest.backbone, bundle.manifest.backbone_sha256) == ("net", bundle.manifest.sha256)
    assert bundle.manifest.licence == "MIT"
