"""What devices say of themselves while they are watched: filled from messages, no connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edged.contract.messages import Alert, Info, ModelInfo, Telemetry
from edged.ctl.rollout.record import DeviceRecord
from edged.ctl.rollout.verdict import Limits, Measured, Sample, judge
from edged.ctl.subscription import Incoming

TOPICS = ("state", "info", "model", "telemetry", "alert/+")
OFFLINE_S = 30.0
"""A connection that is lost for less is no fault of a model."""
EARLY = 12
"""So many telemetry messages are enough to end a watch before its time, where they tell that a device is worse."""


@dataclass(slots=True)
class Observed:
    """One device.

    Attributes:
        online: Whether it or its Last Will spoke last, and it was the device; None: neither did.
        since: Monotonic clock of the last change of `online`, seconds.
        model: What answers.
        boot: Name of the start of the daemon; None: it does not tell.
        restarted: Whether another start was seen since the one that was named at first.
        alerts: Name → reason.
        samples: Telemetry since the watch began.
    """

    online: bool | None = None
    since: float = 0.0
    model: ModelInfo | None = None
    boot: str | None = None
    restarted: bool = False
    alerts: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)


class Watch:
    """Devices that are watched.

    Args:
        devices: Their ids; messages of others are passed over.
        boots: Device → the start of the daemon that is known; another one is a restart.
        skip: So many telemetry messages of each are not counted: their windows began before the watch.
    """

    def __init__(self, devices: Iterable[str], boots: dict[str, str | None] | None = None, *, skip: int = 0) -> None:
        boots = boots or {}
        self.devices = {device: Observed(boot=boots.get(device)) for device in devices}
        self._skip = dict.fromkeys(self.devices, skip)

    def take(self, message: Incoming) -> str | None:
        """Keep what a message says; return the device's id, None of a message that says nothing of a watched one."""
        one = self.devices.get(message.device)
        if one is None:
            return None
        kind = message.levels[0]
        if kind == "state" and message.payload in (b"online", b"offline"):
            online = message.payload == b"online"
            if online != one.online:
                one.online, one.since = online, message.at
        elif kind == "model":
            one.model = message.decode(ModelInfo) or one.model
        elif kind == "info" and (info := message.decode(Info)) is not None:
            self._start(one, info.boot)
        elif kind == "telemetry" and (told := message.decode(Telemetry)) is not None:
            self._start(one, told.boot)
            if self._skip[message.device] > 0:
                self._skip[message.device] -= 1
            else:
                one.samples.append(_sample(told))
        elif kind == "alert" and len(message.levels) == 2:
            alert = message.decode(Alert) if message.payload else None
            if alert is not None:
                one.alerts[message.levels[1]] = alert.reason
            elif not message.payload:
                one.alerts.pop(message.levels[1], None)
        else:
            return None
        return message.device

    @staticmethod
    def _start(one: Observed, boot: str | None) -> None:
        if boot is not None:
            one.restarted = one.restarted or (one.boot is not None and boot != one.boot)
            one.boot = boot


def _sample(told: Telemetry) -> Sample:
    known = told.familiarity
    return Sample(
        fps=told.fps,
        p95_ms=told.latency_ms.p95 if told.latency_ms is not None else None,
        familiarity=known.mean if known is not None else None,
        unknown=known.unknown if known is not None else None,
    )


def trouble(one: Observed, known: DeviceRecord, model: str, limits: Limits, now: float, *, over: bool) -> str | None:
    """Return why a device is worse off with the new model; None: it is not, as far as can be told by now.

    Args:
        one: What it said of itself since the switch.
        known: What it was like before.
        model: Id of the new model.
        limits: How much worse it may be.
        now: Monotonic clock, seconds.
        over: Whether the watch ends, so that what was measured must do.
    """
    if one.model is not None and one.model.id != model:
        reason = one.model.fallback.reason if one.model.fallback is not None else "somebody let another model answer"
        return f"went back to {one.model.name} ({one.model.id}) by itself: {reason}"
    if one.restarted:
        return "its daemon has started again"
    if new := sorted(one.alerts.keys() - set(known.alerts)):
        return f"alert {new[0]}: {one.alerts[new[0]]}"
    if one.online is False and (over or now - one.since > OFFLINE_S):
        return "is offline"
    if known.baseline is None or not (over or len(one.samples) >= EARLY):
        return None
    worse = judge(known.baseline, Measured.of(one.samples), limits).worse
    return ", ".join(worse) or None
