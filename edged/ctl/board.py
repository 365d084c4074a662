"""What a fleet says of itself, message by message, and which devices need attention; no connection and no terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edged.contract.messages import FINAL, Alert
from edged.ctl.choice import EVERY, Choice
from edged.ctl.fleet import Device, Fleet
from edged.ctl.subscription import Incoming
from edged.plural import counted

TOPICS = ("state", "info", "model", "telemetry", "job", "alert/+")
"""Below a device. No results: telemetry tells what was seen last, and a thousand devices publish thousands a second."""
BACKLOG = 100
"""Fewer messages than this in an outbox are on their way; more are waiting for a broker."""
_GROWING = 4
"""An outbox that was larger in each of so many messages grows."""
_SILENT_S = 15.0
_MISSED = 3
"""A device is silent when so many of its telemetry messages have not come, and none for `_SILENT_S`."""
_RATE_S = 5.0


@dataclass(slots=True)
class Entry:
    """One device.

    Attributes:
        known: What it last said.
        alerts: Name → alert that stands.
        told_at: Monotonic clock of its last telemetry, seconds; None: none since this program listens.
        interval_s: Time between its last two; None: not known yet.
        outbox: Its last lengths, the newest last.
    """

    known: Device
    alerts: dict[str, Alert] = field(default_factory=dict)
    told_at: float | None = None
    interval_s: float | None = None
    outbox: deque[int] = field(default_factory=lambda: deque(maxlen=_GROWING))

    @property
    def online(self) -> bool:
        """Whether it is there: it said so, or it sends telemetry to a broker that hands out nothing it has kept."""
        return self.known.online or (self.known.state is None and self.told_at is not None)

    def state(self, now: float) -> str:
        """Return offline, silent, degraded or online."""
        if not self.online:
            return "offline"
        patience_s = max(_SILENT_S, _MISSED * self.interval_s) if self.interval_s is not None else float("inf")
        if self.told_at is not None and now - self.told_at > patience_s:
            return "silent"
        return "degraded" if self.known.info is not None and self.known.info.state == "degraded" else "online"

    def needs(self, now: float) -> list[str]:
        """Return what needs attention, the gravest first; empty where nothing does."""
        state = self.state(now)
        found = [state] if state in ("offline", "silent") else []
        found += sorted(self.alerts)
        if state == "offline":
            return found  # what it said before it went is history
        told = self.known.telemetry
        if told is not None and told.throttled:
            found.append("throttled")
        if told is not None and (told.outbox >= BACKLOG or self._growing):
            found.append("outbox")
        if state == "degraded":
            found.append("degraded")
        return found

    @property
    def _growing(self) -> bool:
        lengths = list(self.outbox)
        return len(lengths) == _GROWING and all(a < b for a, b in pairwise(lengths))

    def as_json(self, now: float) -> dict[str, Any]:
        """Return all of it in one object; what is not known is absent."""
        known = self.known
        told = known.telemetry
        line: dict[str, Any] = {"device": known.id, "state": self.state(now), "needs": self.needs(now)}
        if known.model is not None:
            line["model"] = {"id": known.model.id, "name": known.model.name}
        if (job := known.job) is not None and self.online and job.status not in FINAL:
            line["job"] = {"id": job.id, "cmd": job.cmd, "stage": job.stage, "progress": job.progress}
        if self.alerts:
            line["alerts"] = {name: alert.reason for name, alert in sorted(self.alerts.items())}
        if told is not None:
            line.update(told.model_dump(exclude_none=True, exclude={"v", "selection", "drift", "boot"}, mode="json"))
        return line


_RANK = {"offline": 0, "silent": 1, "throttled": 3, "outbox": 4, "degraded": 5}
_ALERT, _NOTHING = 2, 9


@dataclass(frozen=True)
class Totals:
    """Numbers of the whole fleet: devices, frames that they classify a second, and messages that arrive here."""

    online: int
    offline: int
    alerts: int
    frames_per_s: float
    messages_per_s: float

    def line(self) -> str:
        """Write it for people."""
        return (
            f"{counted(self.online + self.offline, 'device')}: {self.online:,} online, {self.offline:,} offline, "
            f"{self.alerts:,} with alerts · {self.frames_per_s:,.0f} fps · {self.messages_per_s:,.0f} msg/s"
        )


class Board:
    """Devices by id, filled from messages.

    Args:
        choice: Which devices; messages of others are passed over.
    """

    def __init__(self, choice: Choice = EVERY) -> None:
        self._fleet = Fleet(choice)
        self._entries: dict[str, Entry] = {}
        self._arrivals: deque[float] = deque()
        self._alerts: dict[str, dict[str, Alert]] = {}

    def take(self, message: Incoming) -> None:
        """Keep what a message says of its device; one that is not what its topic promises is passed over."""
        device, kind = message.device, message.levels[0]
        if not self._fleet.choice.takes(device):
            return
        self._arrivals.append(message.at)
        if kind == "alert":
            self._take_alert(message)
            return
        if kind == "state" and not message.payload:  # `edgectl forget`
            self._fleet.devices.pop(device, None)
            self._entries.pop(device, None)
            self._alerts.pop(device, None)
            return
        before = self._fleet.devices.get(device)
        told = before.telemetry if before is not None else None
        self._fleet.take(message)
        known = self._fleet.devices.get(device)
        if known is None:
            return
        entry = self._entries.get(device)
        if entry is None:
            entry = self._entries[device] = Entry(known, self._alerts.setdefault(device, {}))
        if known.telemetry is not None and known.telemetry is not told:
            if entry.told_at is not None:
                entry.interval_s = message.at - entry.told_at
            entry.told_at = message.at
            entry.outbox.append(known.telemetry.outbox)

    def _take_alert(self, message: Incoming) -> None:
        alerts = self._alerts.setdefault(message.device, {})
        name = message.levels[1]
        alert = message.decode(Alert) if message.payload else None
        if alert is not None:
            alerts[name] = alert
        elif not message.payload:
            alerts.pop(name, None)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def complete(self) -> bool:
        """Whether each device that is online has sent telemetry."""
        return all(entry.told_at is not None for entry in self._entries.values() if entry.online)

    def entry(self, device: str) -> Entry | None:
        """Return what is known of a device; None: there is none."""
        return self._entries.get(device)

    def entries(self, now: float) -> Iterator[Entry]:
        """Yield devices, those that need attention first: offline, silent, alerts, throttled, outbox, degraded."""

        def rank(entry: Entry) -> tuple[int, str]:
            needs = entry.needs(now)
            return (_RANK.get(needs[0], _ALERT) if needs else _NOTHING), entry.known.id

        yield from sorted(self._entries.values(), key=rank)

    def totals(self, now: float) -> Totals:
        """Count."""
        while self._arrivals and now - self._arrivals[0] > _RATE_S:
            self._arrivals.popleft()
        online = [entry for entry in self._entries.values() if entry.online]
        return Totals(
            online=len(online),
            offline=len(self._entries) - len(online),
            alerts=sum(bool(entry.alerts) for entry in self._entries.values()),
            frames_per_s=sum(entry.known.telemetry.fps for entry in online if entry.known.telemetry is not None),
            messages_per_s=len(self._arrivals) / _RATE_S,
        )


def hottest(readings: Mapping[str, float] | None) -> float | None:
    """Return the greatest of a device's zones or rails (the input rail feeds the others); None where there is none."""
    return max(readings.values()) if readings else None
