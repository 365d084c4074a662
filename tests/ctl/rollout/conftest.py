"""Roll-outs to scripted devices on a real Mosquitto: what is pushed, edgectl, and the file that it keeps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edged.ctl import connect, main
from edged.ctl.rollout.plan import Share, waves_of
from tests.ctl.rollout.model_device import ModelDevice
from tests.waiting import PATIENCE_S

MODEL = bytes(4) + b"TFL3" + bytes(1000)
"""What a scripted device takes for a network."""
NEW = hashlib.sha256(MODEL).hexdigest()[:12]
NAMES = ("line-1", "line-2", "line-3", "line-4")
((FIRST,), (SECOND,), LAST) = waves_of(NAMES, NEW, Share("1"), [Share("2")])
"""The canary, and those after it: they follow from the ids and the model."""
OPTIONS = ("--canary", "1", "--hold", "0.4s")
Devices = Callable[..., dict[str, ModelDevice]]


@pytest.fixture
def devices(broker_port: int) -> Iterator[Devices]:
    with ExitStack() as stack:
        yield lambda *names, **options: {
            name: stack.enter_context(ModelDevice(broker_port, name, **options)) for name in names or NAMES
        }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(MODEL)
    (folder / "labels.txt").write_text("cat\ndog\n")
    return folder


@dataclass(frozen=True)
class Done:
    """What a run of edgectl gave."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def edgectl(
    broker_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `edgectl ARGS` in this process, which starts sooner; its roll-outs are in `tmp_path`."""
    monkeypatch.setattr(connect, "_CONNACK_V5_S", PATIENCE_S)
    for name in [name for name in os.environ if name.startswith("EDGECTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDGECTL_BROKER", f"mqtt://127.0.0.1:{broker_port}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(*args: str) -> Done:
        capsys.readouterr()
        code = main(["--timeout", f"{PATIENCE_S:g}", *args])
        told = capsys.readouterr()
        return Done(code, told.out, told.err)

    return run


@pytest.fixture
def push(edgectl: Run, bundle: Path) -> Run:
    """Run `models push BUNDLE ARGS` for the whole line."""
    return lambda *args: edgectl("--device", "line-*", "models", "push", str(bundle), *OPTIONS, *args)


def record(tmp_path: Path) -> dict[str, object]:
    (path,) = (tmp_path / "edged" / "rollouts").glob("*.json")
    told: dict[str, object] = json.loads(path.read_text())
    return told


def phases(tmp_path: Path) -> dict[str, str]:
    devices = record(tmp_path)["devices"]
    assert isinstance(devices, dict)
    return {name: one["phase"] for name, one in devices.items()}
