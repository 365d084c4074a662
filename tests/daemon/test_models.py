"""Every model at hand through one daemon, on the real clip; and models that cannot run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.daemon.engine import load_engine
from edged.errors import ModelError
from edged.resources import shipped
from edged.settings import ModelSettings
from edged.store import Store
from edged.vision.network import Network
from tests.clips import make_clip
from tests.conftest import MADE_AND_REAL, SHARED_DATA
from tests.daemon.running import PHOTOS, Running, Systemd, Watcher
from tests.mosquitto import Mosquitto
from tests.networks import KINDS, made
from tests.waiting import wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]


def add(store: Store, file: Path, labels: int) -> None:
    model = file.read_bytes()
    network = Network(model)
    assert network.classes == labels
    store.add(model, [f"label {n}" for n in range(labels)], name=file.stem, width=network.width, height=network.height)


def files_of(kind: str, folder: Path) -> list[tuple[Path, int]]:
    """The file of each network, made or real, and how many outputs it has."""
    if kind == "made":
        return [(made(name).write(folder, name)[0], KINDS[name].classes) for name in KINDS]
    models = json.loads((SHARED_DATA / "models/manifest.json").read_text())["models"]
    assert len(models) == 9
    return [(SHARED_DATA / "models" / model["file"], model["outputs"]) for model in models]


@pytest.mark.parametrize("kind", MADE_AND_REAL)
def test_every_model_answers_the_clip_and_photos_one_after_another(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path, kind: str
) -> None:
    film = make_clip(tmp_path / "pan.avi").path if kind == "made" else SHARED_DATA / "clips/car-detection.mp4"
    models = files_of(kind, tmp_path)
    store = Store(tmp_path / "device/state")
    for file, outputs in models:
        add(store, file, outputs)
    seen = watch(broker)
    device = run(
        broker.url,
        cameras=f'[cameras.clip]\nsource = "file://{film}"\n[cameras.photos]\nsource = "dir://{PHOTOS}"',
    )
    seen.wait("result/clip", 2)
    ids = []
    for file, outputs in models:
        _, job, _ = seen.command("models_use", model=file.stem)
        assert job is not None
        assert job["status"] == "succeeded", job
        newest = seen.decoded("model")[-1]
        assert (newest["name"], len(newest["labels"])) == (file.stem, outputs)
        ids.append(newest["id"])

        def answered(topic: str, id_: str = newest["id"]) -> bool:
            return any(result["model"] == id_ for result in seen.decoded(topic)[-50:])

        wait_until(lambda: answered("result/clip") and answered("result/photos"), what=f"answers of {newest['name']}")
    assert len(set(ids)) == len(models)
    assert device.stop() == 0
    seen.wait_for_state("offline")
    for camera in ("clip", "photos"):
        results = seen.decoded(f"result/{camera}")
        assert [result["seq"] for result in results] == list(range(len(results))), "no frame is lost in a switch"
        order = list(dict.fromkeys(result["model"] for result in results))
        assert order[1:] == ids, "one model after another, none comes back"
        assert all(0 <= best["score"] <= 1 for result in results for best in result["top"])


def broken(folder: Path, what: Callable[[Path], Any]) -> Path:
    """A state folder with an installed model `m` that something has happened to."""
    bundle = folder / "state/models/m"
    shutil.copytree(shipped("models") / "mobilenet_v2", bundle)
    what(bundle)
    return bundle


def cut(bundle: Path) -> None:
    model = bundle / "model.tflite"
    model.write_bytes(model.read_bytes()[:100_000])


def without_a_label(bundle: Path) -> None:
    labels = bundle / "labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (cut, "model.tflite: damaged"),
    "missing": (lambda bundle: (bundle / "model.tflite").unlink(), "model.tflite: no such file"),
    "empty": (lambda bundle: (bundle / "model.tflite").write_bytes(b""), "model.tflite: damaged"),
    "a label short": (without_a_label, "labels.txt: 999 labels for a model with 1000 outputs"),
    "no labels": (lambda bundle: (bundle / "labels.txt").unlink(), "labels.txt: no such file"),
    "binary labels": (lambda bundle: (bundle / "labels.txt").write_bytes(b"\xff\xfe"), "labels.txt: line 1 is not"),
    "half a manifest": (lambda bundle: (bundle / "manifest.json").write_text("{"), "manifest.json: Invalid JSON"),
    "removed": (shutil.rmtree, "no model 'm' is installed; installed: mobilenet_v2"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_run_is_told_by_its_file(tmp_path: Path, case: str) -> None:
    what, text = CASES[case]
    broken(tmp_path, what)
    with pytest.raises(ModelError) as caught:
        load_engine(Store(tmp_path / "state").current("m"), ModelSettings())
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configured_model_that_cannot_run_is_a_wrong_configuration(tmp_path: Path) -> None:
    broken(tmp_path, without_a_label)
    # Intact files that are no model: the manifest has their hash.
    Store(tmp_path / "state").add(bytes(4) + b"TFL3" + bytes(100), ["a", "b"], name="noise", width=8, height=8)
    for name, text in (("m", "999 labels for"), ("noise", "model.tflite: "), ("nope", "no model 'nope' is installed")):
        device = Running(tmp_path, "mqtt://127.0.0.1:9")
        device.config.write_text(device.config.read_text().replace("[model]", f'[model]\nname = "{name}"'))
        device.start()
        try:
            assert device.wait() == 2
            line = device.log.splitlines()[-1]
            assert line.startswith(f"edged: model.name = {name!r}: ")
            assert text in line
        finally:
            device.kill()
    assert sum(line.startswith("edged: ") for line in device.log.splitlines()) == 3
    assert "Traceback" not in device.log


def test_a_network_that_was_installed_over_a_shipped_one_and_is_damaged_gives_way_to_it(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    shipped = Store(state).find("mobilenet_v2")
    store = Store(state)
    added = store.add(
        shipped.read_model() + b"x", shipped.labels, name="mobilenet_v2", width=224, height=224, replace=True
    )
    cut(added.path)
    seen = watch(broker)
    device = run(broker.url, state_dir=state)
    seen.wait("result/main")
    assert seen.decoded("model")[-1]["id"] == shipped.id
    (line,) = seen.decoded("info")[-1]["degraded"]
    assert line.startswith(f"model.name = 'mobilenet_v2': {added.path}/model.tflite: damaged: ")
    assert line.endswith(f"; the one that came with edged ({shipped.id}) answers")
    store.add(shipped.read_model() + b"y", shipped.labels, name="other", width=224, height=224)
    _, job, _ = seen.command("models_use", model="other")
    assert job is not None
    assert job["status"] == "succeeded", job
    assert "degraded" not in seen.command("status")[1]["report"]["info"]
    assert device.stop() == 0


def test_a_version_that_was_damaged_gives_way_to_the_one_before(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url)
    first = seen.wait("model")[0]["id"]
    seen.wait("result/main")
    store = Store(device.state_dir)
    bundle = store.find("mobilenet_v2")
    model = bundle.read_model() + b"new"
    store.add(model, bundle.labels, name="other", width=224, height=224)
    _, job, _ = seen.command("models_use", model="other")
    assert job is not None
    assert job["status"] == "succeeded"
    assert device.stop() == 0
    cut(device.state_dir / "current")
    device.start()
    wait_until(lambda: seen.decoded("model")[-1]["id"] == first, what="the one before")
    assert device.stop() == 0
    assert "damaged" in device.log
    assert "is given up" in device.log
    told = seen.decoded("model")[-1]["fallback"]
    assert told["id"] == hashlib.sha256(model).hexdigest()[:12]
    assert "damaged" in told["reason"]
    assert seen.decoded("info")[-1]["state"] == "degraded"


def test_systemd_is_told_which_model_answers(broker: Mosquitto, run: Run, watch: Watch, systemd: Systemd) -> None:
    seen = watch(broker)
    device = run(broker.url, environment={"NOTIFY_SOCKET": str(systemd.path)})
    wait_until(lambda: "READY=1" in systemd.told(), what="READY")
    store = Store(device.state_dir)
    bundle = store.find("mobilenet_v2")
    store.add(bundle.read_model() + b"new", bundle.labels, name="other", width=224, height=224)
    for command, arguments in (("models_use", {"model": "other"}), ("rollback", {})):
        _, job, _ = seen.command(command, **arguments)
        assert job is not None
        assert job["status"] == "succeeded"
    assert device.stop() == 0
    wait_until(lambda: "STOPPING=1" in systemd.told(), what="STOPPING")
    assert [line for line in systemd.told() if line.startswith("STATUS=")] == [
        "STATUS=classifying, model mobilenet_v2",
        "STATUS=classifying, model other",
        "STATUS=classifying, model mobilenet_v2",
        "STATUS=stopping",
    ]


def test_cameras_that_cannot_be_are_told_on_info(broker: Mosquitto, run: Run, watch: Watch) -> None:
    sources = {
        "folder": "dir:///no/such/folder",
        "device": "/dev/video77",
        "number": "77",
        "clip": "file:///no/clip.mp4",
        "nonsense": "nonsense",
        "scheme": "ftp://host/path",
        "nothing": "",
    }
    tables = [f'[cameras.{name}]\nsource = "{source}"' for name, source in sources.items()]
    seen = watch(broker)
    device = run(broker.url, cameras="\n".join([*tables, '[cameras.good]\nsource = "pattern"']))
    seen.wait("result/good", 3)

    def cameras() -> dict[str, Any]:
        return dict(seen.decoded("info")[-1]["cameras"])

    wait_until(lambda: [c["state"] for c in cameras().values()].count("degraded") == len(sources), what="degraded")
    for name, source in sources.items():
        error = cameras()[name]["error"]
        assert error.startswith(f"camera {name!r}: source {source!r}: ")
        assert "\n" not in error
    assert seen.decoded("info")[-1]["state"] == "degraded"
    assert cameras()["good"]["state"] == "running"
    assert device.stop() == 0
