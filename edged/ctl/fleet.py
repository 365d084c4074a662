"""Which devices there are, and what each last said of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from edged.contract.messages import FINAL, Info, Job, ModelInfo, Telemetry
from edged.ctl.client import Client, command_json
from edged.ctl.errors import NoAnswerError
from edged.ctl.options import ALL
from edged.ctl.subscription import Incoming, Subscription
from edged.errors import ConfigError

QUIET_S = 0.5
"""Retained messages follow the broker's SUBACK at once; after this pause there are no more."""
_LIVE_S = 3.0
_TOPICS = ("state", "info", "model", "telemetry", "job")


@dataclass(slots=True)
class Device:
    """What is known of one device; None is what it did not say."""

    id: str
    state: str | None = None
    info: Info | None = None
    model: ModelInfo | None = None
    telemetry: Telemetry | None = None
    job: Job | None = None
    answered: bool = False
    """Whether it answered the `status` command of this `look`."""

    @property
    def online(self) -> bool:
        """Whether the device or its Last Will spoke last, and it was the device."""
        return self.state == "online"


@dataclass(slots=True)
class Fleet:
    """Devices by id, filled from messages; messages that are not what their topic promises are passed over."""

    devices: dict[str, Device] = field(default_factory=dict)

    def take(self, message: Incoming) -> None:
        """Keep what a message says of its device."""
        if len(message.levels) != 1 or message.levels[0] not in _TOPICS or not message.payload:
            return
        device = self.devices.get(message.device) or Device(message.device)
        kind = message.levels[0]
        if kind == "state":
            if message.payload not in (b"online", b"offline"):
                return
            device.state = message.payload.decode()
        elif kind == "info":
            device.info = message.decode(Info) or device.info
        elif kind == "model":
            device.model = message.decode(ModelInfo) or device.model
        elif kind == "telemetry":
            device.telemetry = message.decode(Telemetry) or device.telemetry
        else:
            device.job = message.decode(Job) or device.job
        if device.state or device.info or device.model or device.telemetry:
            self.devices[message.device] = device

    def ids(self, *, online: bool | None = None) -> list[str]:
        """Return sorted ids; only those online, or not online, where asked."""
        return sorted(one.id for one in self.devices.values() if online is None or one.online == online)


def look(client: Client, device: str | None, *, live: bool = False) -> Fleet:
    """Gather what devices say of themselves.

    Args:
        client: An open client.
        device: One id; "all" or None for every device.
        live: Also ask those online for fresh telemetry and wait for their answers, a few seconds at most.
    """
    level = "+" if device in (None, ALL) else device
    fleet = Fleet()
    with client.subscribe(*(f"{level}/{topic}" for topic in _TOPICS)) as subscription:
        for message in subscription.drain(quiet_s=QUIET_S, limit_s=client.timeout_s):
            fleet.take(message)
        if live and fleet.ids(online=True):
            _ask(client, fleet, subscription, device or ALL)
    return fleet


def _ask(client: Client, fleet: Fleet, subscription: Subscription, device: str) -> None:
    command_id = uuid4().hex
    waiting = set(fleet.ids(online=True))
    limit_s = min(client.timeout_s, _LIVE_S)
    level = "+" if device == ALL else device
    with client.subscribe(f"{level}/ack/{command_id}", f"{level}/job/{command_id}") as answers:
        client.publish(f"{device}/cmd/status", command_json(command_id, {}, limit_s + 30), expires_s=limit_s + 30)
        end = time.monotonic() + limit_s
        while waiting and (message := answers.get(end - time.monotonic())) is not None:
            known = fleet.devices.get(message.device)
            if known is None:
                continue
            known.answered = True
            job = message.decode(Job) if message.levels[0] == "job" else None
            if job is not None and job.status in FINAL:
                waiting.discard(message.device)
    for message in subscription.drain(quiet_s=0.1, limit_s=0.3):
        fleet.take(message)


def addressed(client: Client, device: str | None) -> list[str]:
    """Return the ids that a command goes to, all of them online.

    Args:
        client: An open client.
        device: What the user chose: an id, "all", or None for the only one online.

    Raises:
        NoAnswerError: The device, or every device, is unknown or offline.
        ConfigError: None was chosen and several are online.
    """
    fleet = look(client, ALL)
    online = fleet.ids(online=True)
    if device not in (None, ALL):
        if device in online:
            return [device]
        if device in fleet.devices:
            raise NoAnswerError(f"{device} is offline")
        raise NoAnswerError(f"no device {device!r} at {where(client)}; {seen(fleet)}")
    if not online:
        raise NoAnswerError(f"no device is online at {where(client)}; {seen(fleet)}")
    if device is None and len(online) > 1:
        raise ConfigError(f"{len(online)} devices are online, choose one with --device: {_listed(online)} (or all)")
    return online


def where(client: Client) -> str:
    """Tell where devices were looked for."""
    return f"{client.url} under '{client.prefix}/'"


def seen(fleet: Fleet) -> str:
    """Tell which devices there are."""
    online, offline = fleet.ids(online=True), fleet.ids(online=False)
    parts = [f"{name}: {_listed(ids)}" for name, ids in (("online", online), ("offline", offline)) if ids]
    return "; ".join(parts) or "none has ever been there"


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:12]) + (f" and {len(ids) - 12} more" if len(ids) > 12 else "")
