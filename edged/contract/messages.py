"""What is published, version 1 of the wire contract: what each message says. Receivers ignore unknown fields.

On which topic and with which QoS is told by `channels`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edged.types import Box

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, milliseconds, as `timestamp` writes it."""


def timestamp(seconds: float | None = None) -> str:
    """Format seconds since the epoch (None: now) as RFC 3339, UTC, milliseconds: 2026-01-31T12:00:00.000Z."""
    # Every message has one: this takes a fifth of what datetime does.
    whole, thousandths = divmod(time.time_ns() // 1_000_000 if seconds is None else round(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03d}Z"


def _need_what_is_always_there(schema: dict[str, Any]) -> None:
    schema["required"] = ["v", "ts", *schema.get("required", [])]


class Message(BaseModel):
    """What every message carries.

    A validator is built when the first message of its kind is read or written: edgectl knows dozens of kinds, and one
    command of it meets two or three.
    """

    # Whoever reads a message finds `v` and `ts` in it: that they need not be given when one is made is another matter.
    model_config = ConfigDict(
        frozen=True, extra="ignore", defer_build=True, json_schema_extra=_need_what_is_always_there
    )

    v: Literal[1] = 1
    """Version of the wire contract."""
    ts: Moment = Field(default_factory=timestamp)
    """When it was said, RFC 3339, UTC, milliseconds."""

    def encode(self) -> bytes:
        """Return UTF-8 JSON; fields that are None are left out (a value that cannot be read is absent)."""
        return self.model_dump_json(exclude_none=True).encode()


class MessagePart(BaseModel):
    """Base of what a message is made of. Validators are built when they are first needed: see `Message`."""

    model_config = ConfigDict(defer_build=True)


class Score(MessagePart):
    """A label and its probability, 0..1."""

    label: str
    score: float


class ResultLatency(MessagePart):
    """Milliseconds of one frame's way: read and decode, resize, network, and capture to hand-over to the broker."""

    capture: float
    detect: float | None = None
    """What the detector took to find the regions of the frame; absent where there is none."""
    preprocess: float
    invoke: float
    total: float


UNKNOWN: Final = "unknown"
"""In place of a label: the frame shows nothing that the network was taught."""


class Result(Message):
    """One classified frame."""

    seq: int
    """Number of this result among those published for its camera since the daemon started, from 0, without a gap."""
    boot: str | None = None
    """Names that start, 8 hex digits; absent: of a daemon that did not say it yet."""
    camera: str
    """A key of `[cameras]`."""
    model: str
    """Id of the bundle that answered, 12 hex digits."""
    label: str
    """The best of `top`, or `unknown` where `familiarity` lies below the device's `model.unknown`."""
    score: float
    """Probability of the best of `top`, whether or not the label is `unknown`."""
    familiarity: float | None = None
    """Share of held-out taught images that are less alike to what the network was taught than this frame, 0..1."""
    top: list[Score]
    """The best labels, the best first: `model.top` of them."""
    latency_ms: ResultLatency
    network: str | None = None
    """Name of the network that answered, where several take turns (`[selection]`)."""
    box: Box | None = None
    """What of the frame was classified: x, y, width, height as fractions of it. Absent: all of it, as always where the
    camera has no `regions`."""
    track: str | None = None
    """Names what is in the box, on this camera and until the daemon's next start: a number, which stays while a thing
    moves, or the name of a fixed region."""
    ended: Literal[True] | None = None
    """What had this track is gone: the last that is said of it. The rest is as it was seen last."""


class RegionLabel(BaseModel):
    """What a region of a frame shows; see `Result`."""

    track: str
    label: str
    score: float
    familiarity: float | None = None
    box: Box


NOTHING: Final = "nothing"
"""In place of a label: there is no region to be classified, because nothing moves."""


class CameraLabel(Message):
    """`label/<camera>`, QoS 1, retained: what a camera shows, published when that changes and not before.

    Empty where the camera is no longer configured. Who must miss no frame takes `result/<camera>`.
    """

    label: str
    """As in `Result`, of the first frame with it. With `regions`, that of the newest one; `nothing`: there is none."""
    score: float
    """0 where there is none."""
    familiarity: float | None = None
    since: str
    """When that frame was captured, RFC 3339, UTC."""
    regions: list[RegionLabel] | None = None
    """All that were seen in it, the newest first; absent where frames are classified whole. The message comes when one
    appears, goes, or changes its label, and not with each of their steps."""


class Latency(MessagePart):
    """Quantiles of `latency_ms.total` since the last telemetry message."""

    p50: float
    p95: float
    p99: float
    max: float


class Drift(MessagePart):
    """How far a camera's frames are from what the network was taught."""

    statistic: float
    """How often a held-out taught image is more familiar than a frame, 0..1: 0.5 where they are alike."""
    p: float
    """Chance of so high a statistic, or a higher one, if they were alike."""
    frames: int
    """How many frames were looked at."""


class Familiarity(MessagePart):
    """How familiar the frames since the last telemetry message were, published as results or not."""

    mean: float
    """Of results' `familiarity`, 0..1."""
    unknown: float
    """Share of frames that were called `unknown`, 0..1."""
    frames: int
    """How many frames have a familiarity."""


class Seen(MessagePart):
    """What a camera showed last: the newest result since the last telemetry message, published or not."""

    label: str
    score: float
    familiarity: float | None = None


class Telemetry(Message):
    """How the device does: its sensors, and what it has measured since the last such message."""

    power_mw: dict[str, int] | None = None
    """Rail → milliwatts. What cannot be read is absent, here and below."""
    temp_c: dict[str, float] | None = None
    """Zone → degrees Celsius."""
    load: dict[str, float] | None = None
    """Some of "cpu", "gpu", "memory" → how much of it is used, 0..1."""
    clock_mhz: dict[str, int] | None = None
    """Some of "cpu", "gpu", "emc" → megahertz."""
    throttled: bool | None = None
    """Whether the machine says that it slows itself down for heat or power."""
    latency_ms: Latency | None = None
    fps: float
    """Frames a second that were classified, of all cameras."""
    frames: int
    """How many were, since the daemon started."""
    dropped: int
    """Frames that were captured and not classified since then, because newer ones came."""
    outbox: int
    """Messages of QoS 1 that the broker has not acknowledged."""
    boot: str | None = None
    """As in `Result`: that of the daemon that runs now."""
    selection: dict[str, Any] | None = None
    """How several networks take turns, where they do (`[selection]`)."""
    familiarity: Familiarity | None = None
    """Absent where the network does not know what is familiar, or no frame was classified."""
    seen: dict[str, Seen] | None = None
    """Camera → what it showed last; who watches a fleet need not receive every result."""
    drift: dict[str, Drift] | None = None
    """Camera → how far its frames of the last hour (`telemetry.drift_s`) are from what was taught."""
    alerts: list[str] | None = None
    """Names of those that stand (`alert/<name>`); absent where there is none."""


class CameraInfo(MessagePart):
    """State of one camera."""

    source: str
    state: Literal["starting", "running", "degraded", "ended"]
    error: str | None = None
    width: int | None = None
    height: int | None = None


class PerformanceInfo(MessagePart):
    """What the machine is set to; what it does not tell is absent."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    l4t: str | None = None
    """Release of a Jetson's Linux: "32.7.6" is JetPack 4, 35 is JetPack 5, 36 is JetPack 6."""
    nvpmodel: str | None = None
    """A Jetson's power mode, e.g. "MAXN"."""
    jetson_clocks: bool | None = None
    """Whether a Jetson's clocks are locked."""
    governor: str | None = None
    """Of the cores' clocks."""
    clock_mhz: dict[str, int] | None = None
    """Some of "cpu", "gpu" → megahertz at this moment."""
    clock_range_mhz: dict[str, tuple[int, int]] | None = None
    """Some of "cpu", "gpu" → the limits in force."""


class Info(Message):
    """What the device is, and whether all of it works."""

    device: str
    boot: str | None = None
    """As in `Result`: that of the daemon that runs now."""
    state: Literal["running", "degraded"]
    versions: dict[str, str]
    cameras: dict[str, CameraInfo]
    runtime: str
    providers: list[str] | None = None
    """What ONNX Runtime runs the network on, in order, e.g. "cuda", "cpu"; absent with any other runtime."""
    sensors: str
    sensors_error: str | None = None
    """Why better sensors than these are not read: jtop's service does not fit its library, say."""
    performance: PerformanceInfo | None = None
    commands: list[str]
    lr: float | None = None
    """Learning rate of a `retrain` that names none."""
    degraded: list[str] | None = None
    """What does not work as it should, a line each: "camera door: no frame for 5 s", "storage: …"."""


class Fallback(MessagePart):
    """Why a bundle answers that was not the last to be chosen."""

    id: str
    """Of the bundle that was given up."""
    reason: str
    since: Moment
    """RFC 3339, UTC."""


class ModelInfo(Message):
    """The bundle that answers now."""

    id: str
    name: str
    backbone: str
    labels: list[str]
    accuracy: float | None = None
    previous: str | None = None
    fallback: Fallback | None = None
    """There until the next change of model."""


class Alert(Message):
    """What is strange."""

    name: str
    since: Moment
    """RFC 3339, UTC."""
    reason: str


BUSY = "busy: "
"""How the error of a command begins for which there was no room."""


class Ack(Message):
    """Whether a command is carried out."""

    id: str
    status: Literal["accepted", "rejected"]
    error: str | None = None

    @property
    def busy(self) -> bool:
        """Whether it is rejected only because too many of its kind wait: the same command may be sent again."""
        return self.status == "rejected" and (self.error or "").startswith(BUSY)


JobStatus = Literal["queued", "running", "succeeded", "rejected", "failed", "cancelled"]
FINAL: frozenset[JobStatus] = frozenset({"succeeded", "rejected", "failed", "cancelled"})
"""Statuses after which a job says nothing more."""


class Job(Message):
    """How far a command is, and what came out."""

    id: str
    cmd: str
    status: JobStatus
    stage: str | None = None
    progress: float = Field(default=0.0, ge=0, le=1)
    report: dict[str, Any] | None = None
    error: str | None = None
