"""Installing detectors: looked at by a child process first, apart from the models that answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.errors import ConfigError, EdgedError, ModelError
from edged.store import Store
from edged.zoo.detectors import install_detector, verify_detector
from tests.detectors import MOST, SIZE, TF2, Kind, crashing, make


def install(state: Path, kind: Kind | None = None, *, name: str = "bright", replace: bool = False) -> Store:
    store = Store(state)
    install_detector(store, make(kind), name=name, origin=f"{name}.tflite", source="made", replace=replace)
    return store


def test_a_detector_is_installed_verified_and_removed(tmp_path: Path) -> None:
    store = install(tmp_path, Kind(quantized=False, outputs=TF2, normalization=((0.0,), (255.0,))))
    (found,) = store.detectors.installed()
    said = json.loads((tmp_path / "detectors/bright/manifest.json").read_bytes())
    assert said == {
        "v": 1,
        "kind": "detector",
        "name": "bright",
        "sha256": found.manifest.sha256,
        "input": {"width": SIZE, "height": SIZE, "mean": [0.0], "std": [255.0]},
        "outputs": ["scores", "boxes", "count", "classes"],
        "most": MOST,
        "source": "made",
    }
    assert found.id == found.manifest.sha256[:12]
    assert [bundle.name for bundle in store.installed()] == ["mobilenet_v2"], "it is no model that could answer"
    assert verify_detector(store.detectors.find("bright")).most == MOST
    with pytest.raises(
        ModelError, match='bright is a detector, which names nothing: a camera with regions = "detector:b'
    ):
        store.find("bright")
    assert store.detectors.remove("bright") > 1000
    assert store.detectors.names() == []
    with pytest.raises(ModelError, match="no detector 'bright' is installed"):
        store.detectors.remove("bright")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("outputs", ["boxes", "classes", "classes", "count"], "outputs: each of boxes, classes, scores and count"),
        ("input", {"width": 96, "height": 96, "mean": [1, 2]}, "input.mean: one number, or three, are needed"),
        ("input", {"width": 96, "height": 96, "std": [0]}, "input.std: no number may be 0"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, key: str, value: object, told: str) -> None:
    store = install(tmp_path)
    file = tmp_path / "detectors/bright/manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), key: value}))
    with pytest.raises(ModelError, match=told):
        store.detectors.find("bright")


def test_metadata_with_what_is_no_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="one or three are needed"):
        install(tmp_path, Kind(quantized=False, normalization=((float("nan"),), (1.0,))))


def test_one_name_does_not_mean_two_networks(tmp_path: Path) -> None:
    store = install(tmp_path)
    with pytest.raises(
        ConfigError, match="a detector named bright is installed already; choose another name, or replace"
    ):
        install(tmp_path)
    install(tmp_path, Kind(quantized=False), replace=True)
    with pytest.raises(ConfigError, match="a classifier named mobilenet_v2 is installed already"):
        install(tmp_path, name="mobilenet_v2", replace=True)
    with pytest.raises(ConfigError, match="a detector named bright is installed already"):
        store.add(b"model", ["a"], name="bright", width=1, height=1, replace=True)
    with pytest.raises(ModelError, match="mobilenet_v2 is a classifier, and no detector"):
        store.detectors.find("mobilenet_v2")
    with pytest.raises(ModelError, match=r"no detector 'dark' is installed; installed: bright; `edged models add FILE"):
        store.detectors.find("dark")
    with pytest.raises(ConfigError, match=r"name '\.\./out'"):
        install(tmp_path, name="../out")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (make()[:5000], "truncated or damaged"),
        (make(Kind(quantized=False, finite=False)), "values that are not finite"),
        (make(Kind(options=(("max_detections", 20_000),))), "announces 20000 detections"),
        (make(Kind(options=(("nms_iou_threshold", 2.0),))), "invocation failed"),
        (crashing(), "ends the process that runs it: the examination was killed by signal"),
    ],
    ids=["cut", "not finite", "many", "failing", "crashing"],
)
def test_what_harms_a_process_is_refused_in_one_line_and_not_installed(tmp_path: Path, model: bytes, text: str) -> None:
    store = Store(tmp_path)
    with pytest.raises(EdgedError, match=f"^sent: .*{text}") as caught:
        install_detector(store, model, name="bad", origin="sent")
    assert "\n" not in str(caught.value)
    assert store.detectors.names() == []


def test_a_damaged_one_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = install(tmp_path)
    folder = tmp_path / "detectors/bright"
    (folder / "model.tflite").write_bytes(make(Kind(quantized=False)))
    with pytest.raises(ModelError, match=r"model.tflite: damaged: its sha256 starts with .*, manifest.json says"):
        verify_detector(store.detectors.find("bright"))
    (folder / "manifest.json").write_text('{"v": 1}')
    with pytest.raises(ModelError, match=r"manifest.json: name: Field required"):
        store.detectors.find("bright")
    assert store.detectors.installed() == []
    assert "manifest.json: name: Field required" in caplog.text
    assert store.detectors.remove("bright") > 0, "readable or not"
