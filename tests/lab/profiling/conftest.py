"""The shipped model, a seeded input for it, and a small photo folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edged import resources

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="session")
def model_file() -> Path:
    return resources.shipped("models") / "mobilenet_v2" / "model.tflite"


@pytest.fixture(scope="session")
def model(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture(scope="session")
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two labeled photos, one file that is none."""
    folder = tmp_path / "photos"
    for name in ("tabby", "rocket"):
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name / "0.jpg"), pixels)
    (folder / "rocket" / "1.jpg").write_bytes(b"not an image")
    return folder
