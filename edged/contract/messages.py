"""What is published: one model for each topic of the wire contract, version 1. Receivers ignore unknown fields."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field


def timestamp(seconds: float | None = None) -> str:
    """Format seconds since the epoch (None: now) as RFC 3339, UTC, milliseconds: 2026-01-31T12:00:00.000Z."""
    moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Message(BaseModel):
    """What every message carries."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    ts: str = Field(default_factory=timestamp)

    def encode(self) -> bytes:
        """Return UTF-8 JSON; fields that are None are left out (a value that cannot be read is absent)."""
        return self.model_dump_json(exclude_none=True).encode()


class Score(BaseModel):
    """A label and its probability, 0..1."""

    label: str
    score: float


class ResultLatency(BaseModel):
    """Milliseconds of one frame's way: read and decode, resize, network, and capture to hand-over to the broker."""

    capture: float
    preprocess: float
    invoke: float
    total: float


UNKNOWN: Final = "unknown"
"""In place of a label: the frame shows nothing that the network was taught."""


class Result(Message):
    """`result/<camera>`, QoS 1: one classified frame."""

    seq: int
    """Number of this result among those published for its camera since the daemon started, from 0, without a gap."""
    boot: str | None = None
    """Names that start, 8 hex digits; None: of a daemon that did not say it yet."""
    camera: str
    model: str
    label: str
    """The best of `top`, or `UNKNOWN` where `familiarity` lies below the device's `model.unknown`."""
    score: float
    """Probability of the best of `top`, whether or not the label is `UNKNOWN`."""
    familiarity: float | None = None
    """Share of held-out taught images that are less alike to what the network was taught than this frame, 0..1."""
    top: list[Score]
    latency_ms: ResultLatency
    network: str | None = None
    """Name of the network that answered, where several take turns (`[selection]`)."""


class Latency(BaseModel):
    """Quantiles of `latency_ms.total` since the last telemetry message."""

    p50: float
    p95: float
    p99: float
    max: float


class Drift(BaseModel):
    """How far a camera's frames are from what the network was taught."""

    statistic: float
    """How often a held-out taught image is more familiar than a frame, 0..1: 0.5 where they are alike."""
    p: float
    """Chance of so high a statistic, or a higher one, if they were alike."""
    frames: int
    """How many frames were looked at."""


class Familiarity(BaseModel):
    """How familiar the frames since the last telemetry message were, published as results or not."""

    mean: float
    """Of `result.familiarity`, 0..1."""
    unknown: float
    """Share of frames that were called `UNKNOWN`, 0..1."""
    frames: int
    """How many frames have a familiarity."""


class Seen(BaseModel):
    """What a camera showed last: the newest result since the last telemetry message, published or not."""

    label: str
    score: float
    familiarity: float | None = None


class Telemetry(Message):
    """`telemetry`, QoS 0."""

    power_mw: dict[str, int] | None = None
    temp_c: dict[str, float] | None = None
    load: dict[str, float] | None = None
    clock_mhz: dict[str, int] | None = None
    throttled: bool | None = None
    latency_ms: Latency | None = None
    fps: float
    frames: int
    dropped: int
    outbox: int
    boot: str | None = None
    """As in `Result`: that of the daemon that runs now."""
    selection: dict[str, Any] | None = None
    familiarity: Familiarity | None = None
    """Absent where the network does not know what is familiar, or no frame was classified."""
    seen: dict[str, Seen] | None = None
    """Camera → what it showed last; who watches a fleet need not receive every result."""
    drift: dict[str, Drift] | None = None
    """Camera → how far its frames of the last hour (`telemetry.drift_s`) are from what was taught."""


class CameraInfo(BaseModel):
    """State of one camera on `info`."""

    source: str
    state: Literal["starting", "running", "degraded", "ended"]
    error: str | None = None
    width: int | None = None
    height: int | None = None


class PerformanceInfo(BaseModel):
    """What the machine is set to, on `info`; what it does not tell is absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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
    """`info`, QoS 1, retained."""

    device: str
    boot: str | None = None
    """As in `Result`: that of the daemon that runs now."""
    state: Literal["running", "degraded"]
    versions: dict[str, str]
    cameras: dict[str, CameraInfo]
    runtime: str
    sensors: str
    sensors_error: str | None = None
    """Why better sensors than these are not read: jtop's service does not fit its library, say."""
    performance: PerformanceInfo | None = None
    commands: list[str]
    degraded: list[str] | None = None
    """What does not work as it should, a line each: "camera door: no frame for 5 s", "storage: …"."""


class Fallback(BaseModel):
    """Why a bundle answers that was not the last to be chosen."""

    id: str
    """Of the bundle that was given up."""
    reason: str
    since: str
    """RFC 3339, UTC."""


class ModelInfo(Message):
    """`model`, QoS 1, retained: the bundle that answers now."""

    id: str
    name: str
    backbone: str
    labels: list[str]
    accuracy: float | None = None
    previous: str | None = None
    fallback: Fallback | None = None
    """There until the next change of model."""


class Alert(Message):
    """`alert/<name>`, QoS 1, retained; an empty payload where it is over."""

    name: str
    since: str
    """RFC 3339, UTC."""
    reason: str


class Ack(Message):
    """`ack/<id>`, QoS 1."""

    id: str
    status: Literal["accepted", "rejected"]
    error: str | None = None


JobStatus = Literal["queued", "running", "succeeded", "rejected", "failed", "cancelled"]
FINAL: frozenset[JobStatus] = frozenset({"succeeded", "rejected", "failed", "cancelled"})
"""Statuses after which a job says nothing more."""


class Job(Message):
    """`job/<id>`, QoS 1, and the newest one retained on `job`."""

    id: str
    cmd: str
    status: JobStatus
    stage: str | None = None
    progress: float = Field(default=0.0, ge=0, le=1)
    report: dict[str, Any] | None = None
    error: str | None = None
