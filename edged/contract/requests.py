"""What to profile, as it travels to a process of its own."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edged.contract.commands import ProfilePart
from edged.settings import MqttSettings

PARTS: tuple[ProfilePart, ...] = ("layers", "end_to_end", "online", "batch", "threads", "runtimes", "gpu")
ONLINE = (10, 100, 1000)
BATCHES = (1, 20, 40, 100, 200)


class ProfileRequest(BaseModel):
    """One model, and what is to be measured.

    Attributes:
        name: What to call the model.
        id: Bundle id; None for a bare file.
        model: The .tflite file.
        crop: See `preprocess.fit`.
        parts: What to measure.
        runtime: See `runtimes.resolve`.
        threads: For one invocation; layers are always timed on one.
        online: Numbers of images, one after another.
        batches: Sizes of batches.
        batch_images: Images that each batch size classifies.
        seconds: No single measurement begins another invocation after so long; the report says how many it had.
        images: Folder of photos; None: those that edged ships.
        source: A camera's source for the end-to-end part; None: `images`.
        mqtt: The broker of the end-to-end part; None: nothing is published.
        device: For the topic there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    id: str | None = None
    model: Path
    crop: float = 0.875
    parts: tuple[ProfilePart, ...] = PARTS
    runtime: str = "auto"
    threads: int = Field(default=1, ge=1, le=64)
    online: tuple[int, ...] = ONLINE
    batches: tuple[int, ...] = BATCHES
    batch_images: int = Field(default=1000, ge=1)
    seconds: float = Field(default=20.0, gt=0)
    images: Path | None = None
    source: str | None = None
    mqtt: MqttSettings | None = None
    device: str = "profile"
