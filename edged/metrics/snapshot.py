"""All that one scrape tells, as plain values. What cannot be read is None, or absent from its mapping: never a 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.types import Reading


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values, counted in buckets.

    Attributes:
        bounds: Upper bounds, ascending; a value that equals one is within it.
        counts: Of each bucket alone, and one more for what lies above all bounds.
        total: Sum of the values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of one camera's frames since the start.

    Attributes:
        frames: Classified ones.
        labels: Label → frames with this answer.
        latency: Stage ("capture", "preprocess", "invoke", "total"; with a detector "detect") → seconds.
        familiarity: Of the frames that have one; None: none has.
    """

    frames: int
    labels: Mapping[str, int]
    latency: Mapping[str, Distribution]
    familiarity: Distribution | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The bundle that answers now.

    Attributes:
        id: 12 hex digits of its sha256.
        name: What people call it.
        backbone: Name of the network below the head.
        labels: How many it knows.
        accuracy: On images that training never saw, 0..1; None: unmeasured.
    """

    id: str
    name: str
    backbone: str
    labels: int
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon at one moment.

    Attributes:
        about: What it is: device, version, runtime, sensors.
        cameras: Name → whether it gives frames; absent: a file that has ended.
        counted: Camera → its frames; absent: none yet.
        dropped: Camera → frames that were replaced before anyone took them.
        drift: Camera → how often a held-out taught image is more familiar than its frames, 0..1.
        model: What answers.
        reading: Of the sensors, some seconds old; None: they do not answer.
        memory_available: Bytes that this process may still take.
        connected: Whether the broker has let us in.
        outbox: Messages that it has not acknowledged.
        outbox_bytes: Their topics and payloads, and what rows on disk cost beside these.
        outbox_limit_bytes: Beyond it the oldest are dropped.
        outbox_dropped: Messages that were, since the start.
        jobs: (command, final status) → jobs that ended so since the start.
        running: Command → jobs that run now.
        retrained: Final status → when a retraining last ended so, seconds since the epoch.
        alerts: Name → whether it stands.
    """

    about: Mapping[str, str]
    cameras: Mapping[str, bool]
    counted: Mapping[str, Counted]
    dropped: Mapping[str, int]
    model: ModelFacts
    memory_available: int
    connected: bool
    outbox: int
    outbox_bytes: int
    outbox_limit_bytes: int
    outbox_dropped: int
    drift: Mapping[str, float] = field(default_factory=dict)
    reading: Reading | None = None
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    retrained: Mapping[str, float] = field(default_factory=dict)
    alerts: Mapping[str, bool] = field(default_factory=dict)
