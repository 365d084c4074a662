"""The nine real models and some real photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from edged.types import Image

NAMES = (
    "efficientnet_lite0_224_uint8_ptq",
    "inception_v3_299_quant",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160_quant",
    "mobilenet_v1_0.75_192_quant",
    "mobilenet_v2_1.0_224_inat_bird_quant",
    "mobilenet_v2_1.0_224_inat_insect_quant",
    "mobilenet_v2_1.0_224_quant",
    "resnet50_224_uint8_ptq",
)


@pytest.fixture(params=NAMES)
def real_model(request: pytest.FixtureRequest, shared_data: Path) -> bytes:
    return (shared_data / "models" / f"{request.param}.tflite").read_bytes()


@pytest.fixture(scope="session")
def smallest_model(shared_data: Path) -> bytes:
    return (shared_data / "models" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()


@pytest.fixture(scope="session")
def flowers(shared_data: Path) -> list[tuple[Image, int]]:
    """Sixty real photos, twelve of each class, with their class number."""
    folders = sorted(folder for folder in (shared_data / "flowers").iterdir() if folder.is_dir())
    return [
        (read_rgb(file), label) for label, folder in enumerate(folders) for file in sorted(folder.glob("*.jpg"))[:12]
    ]


def read_rgb(file: Path) -> Image:
    pixels = cv2.imread(str(file))
    assert pixels is not None
    return np.ascontiguousarray(pixels[:, :, ::-1])
