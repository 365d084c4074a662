"""Installing detectors: looked at by a child process first, apart from the models that answer."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from edged.errors import ConfigError, EdgedError, ModelError
from edged.store import InstalledDetector, Store, durable
from edged.zoo.detectors import install_detector, verify_detector
from tests.crafted import hungry
from tests.detectors import MOST, ROLES, SIZE, TF2, Kind, crashing, make


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


def test_it_has_to_look_at_the_frames_of_the_device(tmp_path: Path) -> None:
    store, dark, white = Store(tmp_path), *(np.full((120, 160, 3), value, np.uint8) for value in (20, 255))
    with pytest.raises(ModelError, match=r"^sent: (invocation failed: .*FILL|takes more than the)"):
        install_detector(
            store, hungry(10**12, make(), white=True), name="bad", origin="sent", frames=[dark, dark, white]
        )
    assert store.detectors.names() == []


class TestTrial:
    """`begin` is called when a daemon starts; one that ends in order says `paused`."""

    @staticmethod
    def lost(store: Store) -> str | None:
        """Begin; return why it is not to be used."""
        try:
            store.detectors.begin("bright")
        except ModelError as error:
            return str(error)
        return None

    def test_one_that_ends_the_device_is_left_out_until_it_is_installed_anew(self, store: Store) -> None:
        id_ = store.detectors.begin("bright").id
        for _ in range(3):
            assert self.lost(store) == (
                f"detector bright ({id_}) was given up: the daemon ended while it was on trial; install another one, "
                "or this one anew"
            )
        again = add(store, replace=True)
        assert again.id == id_
        assert [self.lost(store) is None for _ in range(2)] == [True, False]

    def test_an_end_in_order_is_held_against_nobody(self, store: Store) -> None:
        for _ in range(3):
            store.detectors.paused(store.detectors.begin("bright"))
        assert self.lost(store) is None

    def test_one_that_is_proven_may_fail_twice_and_not_thrice(self, store: Store) -> None:
        store.detectors.proved(store.detectors.begin("bright"))
        assert [self.lost(store) is None for _ in range(3)] == [True, True, False]

    def test_one_that_has_settled_is_never_blamed(self, store: Store) -> None:
        store.detectors.settled(store.detectors.begin("bright"))
        assert {self.lost(store) for _ in range(10)} == {None}

    def test_what_has_taken_its_place_has_a_trial_of_its_own(self, store: Store) -> None:
        before = store.detectors.begin("bright")
        add(store, b"another", replace=True)
        store.detectors.settled(before)
        store.detectors.begin("bright")
        store.detectors.paused(before)
        assert self.lost(store) is not None

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 3}'])
    def test_a_damaged_trial_blames_nobody(self, store: Store, content: bytes) -> None:
        found = store.detectors.begin("bright")
        (found.path / "trial.json").write_bytes(content)
        store.detectors.proved(found)
        assert self.lost(store) is None

    def test_a_disk_that_takes_nothing_keeps_no_daemon_from_starting(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(durable, "write_file", full)
        assert self.lost(store) is None
        assert "is on trial, which cannot be kept" in caplog.text


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One with a detector that no daemon has used yet."""
    made = Store(tmp_path)
    add(made)
    return made


def add(store: Store, content: bytes = b"one", *, replace: bool = False) -> InstalledDetector:
    """Install what nobody opens, without an examination."""
    said = {"name": "bright", "input": {"width": 1, "height": 1}, "outputs": ROLES, "most": 1}
    return store.detectors.add(content, said, replace=replace)


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
