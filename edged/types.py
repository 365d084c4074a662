"""Frozen values that rooms hand to each other. Units stand in the names; absence is None."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # edgectl imports this module and must not pay for numpy
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    """RGB pixels, shape (height, width, 3), uint8."""
    Vector = NDArray[np.float32]

Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the frame."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a frame that is classified by itself.

    Attributes:
        track: Its name: that of a fixed region, or the number of what moves, which it keeps while it is seen.
        box: Where it is, or was when it was seen last.
        born: Later ones have greater numbers.
        visible: Whether it is there in this frame.
    """

    track: str
    box: Box
    born: int
    visible: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame, and the model input made from it.

    Attributes:
        camera: Name of the camera, a key of `[cameras]`.
        seq: Number of this frame since the camera was opened, from 0.
        image: RGB, (height, width, 3) uint8, after the region of interest was cut out.
        captured_ns: Monotonic clock when the frame was complete in memory, nanoseconds.
        captured_at: Wall clock of the same moment, seconds since the epoch, UTC.
        capture_ms: What reading and decoding took.
        prepared: The model's input, made on the capture thread so that the main thread only invokes; None before.
        preprocess_ms: What making `prepared` took.
        prepared_by: The function that made `prepared`. Where it no longer equals (==) the running model's, after a
            swap, the consumer prepares `image` again.
        regions: What is to be classified by itself in this frame, the newest first, and what was lost from sight a
            moment ago; None: the frame is classified as a whole.
        region: What `image` was cut out around; None: it is the whole frame.
        detect_ms: What a detector took to find the regions; None: there is none.
    """

    camera: str
    seq: int
    image: Image
    captured_ns: int
    captured_at: float
    capture_ms: float
    prepared: Image | None = None
    preprocess_ms: float = 0.0
    prepared_by: object | None = None
    regions: tuple[Region, ...] | None = None
    region: Region | None = None
    detect_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """What one invocation of a network gave.

    Attributes:
        scores: Class probabilities, float32, (classes,), summing to about 1.
        embedding: The bottleneck (the classifier head's input), float32, (features,).
        invoke_ms: Time of the invocation alone.
        network: Name of the network that answered, where several take turns.
        familiarity: Share of held-out taught images that are less alike to what was taught than this frame; None: not
            known. See `vision.familiarity`.
    """

    scores: Vector
    embedding: Vector
    invoke_ms: float
    network: str | None = None
    familiarity: float | None = None


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability 0..1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the sensors. A value that cannot be read is absent from its mapping (or None), never invented.

    Attributes:
        power_mw: Rail name → milliwatts.
        temp_c: Zone name → degrees Celsius.
        load: Some of "cpu", "gpu", "memory" → fraction 0..1.
        clock_mhz: Some of "cpu", "gpu", "emc" → megahertz.
        throttled: Whether the machine says that it slows itself down for heat or power; None where it cannot tell.
    """

    power_mw: dict[str, int] = field(default_factory=dict)
    temp_c: dict[str, float] = field(default_factory=dict)
    load: dict[str, float] = field(default_factory=dict)
    clock_mhz: dict[str, int] = field(default_factory=dict)
    throttled: bool | None = None


@dataclass(frozen=True, slots=True)
class Performance:
    """What a machine is set to. What it does not tell is absent from its mapping (or None), never invented.

    Attributes:
        l4t: Release of a Jetson's Linux, e.g. "35.4.1".
        nvpmodel: A Jetson's power mode, e.g. "MAXN"; its number where it has no name.
        jetson_clocks: Whether a Jetson's clocks are locked.
        governor: Of the cores' clocks, e.g. "schedutil"; several where they differ.
        clock_mhz: Some of "cpu", "gpu" → megahertz now.
        clock_range_mhz: Some of "cpu", "gpu" → the limits in force, megahertz.
    """

    l4t: str | None = None
    nvpmodel: str | None = None
    jetson_clocks: bool | None = None
    governor: str | None = None
    clock_mhz: dict[str, int] = field(default_factory=dict)
    clock_range_mhz: dict[str, tuple[int, int]] = field(default_factory=dict)
