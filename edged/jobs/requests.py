"""The profile as a child process: what it is asked to do, and what it says. The process itself stands in the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field

from edged.contract.commands import ProfilePart
from edged.jobs.process import Child
from edged.settings import MqttSettings

PARTS: tuple[ProfilePart, ...] = get_args(ProfilePart)
_ONLINE = (10, 100, 1000)
_BATCHES = (1, 20, 40, 100, 200)


class ProfileRequest(BaseModel):
    """One model, and what is to be measured.

    Attributes:
        name: What to call the model.
        id: Bundle id; None for a bare file.
        model: The .tflite file.
        crop: Share of the shorter side that the network sees of a photo, see `vision.preprocess.fit`.
        parts: What to measure.
        runtime: "auto", "litert", "tflite_runtime", "onnx" or "tensorflow"; behind a colon the providers of "onnx".
        threads: For one invocation; layers are always timed on one.
        online: Numbers of images, one after another.
        batches: Sizes of batches.
        batch_images: Images that each batch size classifies.
        seconds: After so long no single measurement begins another invocation; the report says how many it had.
        images: Folder of photos; None: those that edged ships.
        source: A camera's source for the end-to-end part; None: `images`.
        mqtt: The broker of the end-to-end part; None: nothing is published.
        device: Names the topic that the end-to-end part publishes to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    id: str | None = None
    model: Path
    crop: float = 0.875
    parts: tuple[ProfilePart, ...] = PARTS
    runtime: str = "auto"
    threads: int = Field(default=1, ge=1, le=64)
    online: tuple[int, ...] = _ONLINE
    batches: tuple[int, ...] = _BATCHES
    batch_images: int = Field(default=1000, ge=1)
    seconds: float = Field(default=20.0, gt=0)
    images: Path | None = None
    source: str | None = None
    mqtt: MqttSettings | None = None
    device: str = "profile"


class ProfileProgress(BaseModel):
    """What is being measured, and the fraction 0..1 of everything that is done."""

    stage: str
    fraction: float
    detail: dict[str, Any] = {}


class ProfileOutcome(BaseModel):
    """What was measured: a `ProfileReport` as it travels on."""

    report: dict[str, Any]


PROFILE = Child("edged.lab.profiling.job", "profile", ProfileRequest, ProfileProgress, ProfileOutcome)
