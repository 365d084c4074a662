"""Networks of every kind, made here and, where they are, the nine real ones; and photos for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import pytest

from edged.vision.graph import Graph
from tests.conftest import HAS_SHARED_DATA, MADE_AND_REAL, SHARED_DATA
from tests.networks import KINDS, made
from tests.photos import shipped_photos, views

if TYPE_CHECKING:
    from pathlib import Path

    from edged.types import Image


@dataclass(frozen=True, slots=True)
class Expected:
    """What there is to be found in a network's file."""

    size: int
    features: int
    classes: int
    head: Literal["CONV_2D", "FULLY_CONNECTED"] = "CONV_2D"
    softmax: bool = True
    bottleneck: Literal["uint8", "int8"] = "uint8"


REAL = {
    "efficientnet_lite0_224_uint8_ptq": Expected(224, 1280, 1000, "FULLY_CONNECTED", bottleneck="int8"),
    "inception_v3_299_quant": Expected(299, 2048, 1001, softmax=False),
    "mobilenet_v1_0.25_128_quant": Expected(128, 256, 1001),
    "mobilenet_v1_0.5_160_quant": Expected(160, 512, 1001),
    "mobilenet_v1_0.75_192_quant": Expected(192, 768, 1001),
    "mobilenet_v2_1.0_224_inat_bird_quant": Expected(224, 1280, 965, "FULLY_CONNECTED"),
    "mobilenet_v2_1.0_224_inat_insect_quant": Expected(224, 1280, 1022, "FULLY_CONNECTED"),
    "mobilenet_v2_1.0_224_quant": Expected(224, 1280, 1001),
    "resnet50_224_uint8_ptq": Expected(224, 2048, 1000, "FULLY_CONNECTED", bottleneck="int8"),
}
MADE = {
    "made_v1_128": Expected(128, 192, 1001),
    "made_v1_160": Expected(160, 384, 1001),
    "made_v1_192": Expected(192, 576, 1001),
    "made_v2_224": Expected(224, 384, 1001),
    "made_birds": Expected(224, 384, 965, "FULLY_CONNECTED"),
    "made_insects": Expected(224, 192, 1022, "FULLY_CONNECTED"),
    "made_inception": Expected(299, 432, 1001, softmax=False),
    "made_efficientnet": Expected(224, 384, 1000, "FULLY_CONNECTED", bottleneck="int8"),
    "made_resnet": Expected(224, 384, 1000, "FULLY_CONNECTED", bottleneck="int8"),
    "made_signed": Expected(224, 384, 1000, "FULLY_CONNECTED", bottleneck="int8"),
}
EXPECTED = {**MADE, **(REAL if HAS_SHARED_DATA else {})}


def network_file(name: str) -> bytes:
    """The content of a made or real network's file."""
    return made(name).model if name in KINDS else (SHARED_DATA / "models" / f"{name}.tflite").read_bytes()


def noise_for(model: bytes, count: int) -> Image:
    """Random pixels in the size of a network: (count, height, width, 3) uint8."""
    size = Graph(model).input.width
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    """Of a network of each kind."""
    return str(request.param)


@pytest.fixture
def any_model(name: str) -> bytes:
    return network_file(name)


@pytest.fixture(scope="session", params=MADE_AND_REAL)
def smallest_model(request: pytest.FixtureRequest) -> bytes:
    return network_file("made_v1_128" if request.param == "made" else "mobilenet_v1_0.25_128_quant")


@pytest.fixture(scope="session", params=MADE_AND_REAL)
def sixty_photos(request: pytest.FixtureRequest) -> list[Image]:
    """Twelve of each of five flowers, or ten views of each of six photos."""
    if request.param == "made":
        return [view for path in shipped_photos() for view in views(path, 10)]
    folders = sorted(folder for folder in (SHARED_DATA / "flowers").iterdir() if folder.is_dir())
    return [read_rgb(file) for folder in folders for file in sorted(folder.glob("*.jpg"))[:12]]


def read_rgb(file: Path) -> Image:
    pixels = cv2.imread(str(file))
    assert pixels is not None
    return np.ascontiguousarray(pixels[:, :, ::-1])
