"""Which devices there are, and what each last said of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload
from uuid import uuid4

from edged.contract.messages import FINAL, Ack, Info, Job, ModelInfo, Telemetry
from edged.ctl.choice import ALL, EVERY, Choice
from edged.ctl.client import Client, command_json
from edged.ctl.errors import NoAnswerError
from edged.ctl.subscription import Incoming, Subscription
from edged.errors import ConfigError
from edged.terminal.program import DONE, FAILED
from edged.terminal.text import note

QUIET_S = 0.5
"""Retained messages follow the broker's SUBACK at once; after this pause there are no more."""
_LIVE_S = 3.0
_EACH_S = 0.005
"""Each device more may take so much longer to answer: the broker hands out thousands of messages then."""
_PART = 100
"""So many devices are asked together, …"""
_PART_S = 0.1
"""…and the next ones so much later."""
_CALL_S = 3.0
"""How long devices of which nothing is known may take to answer."""
_SETTLED_S = 1.0
"""Some of them have answered: after this pause all have."""
_TOPICS = ("state", "info", "model", "telemetry", "job")
NAMED = 12
"""Devices that are named in a line; the others are counted."""
_EXACT = 8
"""Up to so many devices that are named are subscribed by name: a broker may allow 50 subscriptions of a connection."""


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
    """Whether it has told something new since this `look` began: telemetry, or an answer."""

    @property
    def online(self) -> bool:
        """Whether the device or its Last Will spoke last, and it was the device."""
        return self.state == "online"


@dataclass(slots=True)
class Fleet:
    """Devices by id, filled from messages; messages that are not what their topic promises are passed over."""

    choice: Choice = EVERY
    devices: dict[str, Device] = field(default_factory=dict)

    def take(self, message: Incoming) -> None:
        """Keep what a message says of its device."""
        if len(message.levels) != 1 or message.levels[0] not in _TOPICS or not message.payload:
            return
        if not self.choice.takes(message.device):
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
            telemetry = message.decode(Telemetry)
            device.telemetry = telemetry or device.telemetry
            device.answered = device.answered or (telemetry is not None and not message.retained)
        else:
            device.job = message.decode(Job) or device.job
        if device.state or device.info or device.model or device.telemetry:
            self.devices[message.device] = device

    def ids(self, *, online: bool | None = None) -> list[str]:
        """Return sorted ids; only those online, or not online, where asked."""
        return sorted(one.id for one in self.devices.values() if online is None or one.online == online)


def look(client: Client, choice: Choice | None, *, live: bool = False) -> Fleet:
    """Gather what devices say of themselves.

    RabbitMQ hands out a retained message only to who subscribes to its very topic. So devices that are named are
    subscribed by name; and where the broker seems to keep nothing of any, all are asked, and who answers is there.

    Args:
        client: An open client.
        choice: Which devices; None: every one.
        live: Also ask those online for fresh telemetry and wait for their answers, a few seconds at most.
    """
    choice = choice or EVERY
    fleet = Fleet(choice)
    named = choice.named()
    exact = len(named) == len(choice.parts) <= _EXACT
    levels = named if exact else ["+"]
    filters = [f"{level}/{topic}" for level in levels for topic in _TOPICS]
    command_id = uuid4().hex
    if live:
        filters += [f"{choice.level}/{kind}/{command_id}" for kind in ("ack", "job")]
    with client.subscribe(*filters, qos=0) as subscription:
        kept = False
        for message in subscription.drain(quiet_s=QUIET_S, limit_s=client.timeout_s):
            kept = kept or message.retained
            fleet.take(message)
        if not kept and not exact:
            _call(client, fleet, subscription)
        elif live:
            _ask(client, fleet, subscription, command_id)
    return fleet


def _ask(client: Client, fleet: Fleet, subscription: Subscription, command_id: str) -> None:
    """Have those online tell their telemetry anew; the rest of what they say stands at the broker.

    A large fleet is asked a part at a time: where all answer at once, all are late. Whose telemetry has come by itself
    meanwhile is not asked.
    """
    to_ask = fleet.ids(online=True)
    limit_s = min(client.timeout_s, _LIVE_S + _EACH_S * len(to_ask))
    end = time.monotonic() + limit_s
    silent = {device for device in to_ask if not fleet.devices[device].answered}
    while silent and time.monotonic() < end:
        part, to_ask = to_ask[:_PART], to_ask[_PART:]
        for device in part:
            if device in silent:
                _send(client, _question(fleet.devices[device]), [device], command_id, limit_s)
        until = min(end, time.monotonic() + _PART_S) if to_ask else end
        while silent and (message := subscription.get(until - time.monotonic())) is not None:
            fleet.take(message)
            known = fleet.devices.get(message.device)
            if known is None:
                continue
            if len(message.levels) == 2 and _ends(message, known):
                known.answered = True
            if known.answered:
                silent.discard(known.id)
    for message in subscription.drain(quiet_s=0.1, limit_s=0.3):
        fleet.take(message)


def _ends(message: Incoming, device: Device) -> bool:
    """Whether nothing more follows an answer of a device; one that refuses to answer is told of."""
    if message.levels[0] == "job":
        job = message.decode(Job)
        return job is not None and job.status in FINAL
    ack = message.decode(Ack)
    if ack is not None and ack.status == "rejected":
        note("edgectl", f"{message.device} refuses {ack.error or 'to tell more'}")
    return ack is not None and (ack.status == "rejected" or _question(device) == "telemetry")


def _question(device: Device) -> str:
    """Return the command that asks for telemetry: a device of an earlier version knows `status` alone."""
    return "telemetry" if device.info is not None and "telemetry" in device.info.commands else "status"


def _call(client: Client, fleet: Fleet, subscription: Subscription) -> None:
    """Ask all devices for their state without knowing of any: who answers is online."""
    command_id = uuid4().hex
    limit_s = min(client.timeout_s, _CALL_S)
    end = time.monotonic() + limit_s
    with client.subscribe(f"+/ack/{command_id}", f"+/job/{command_id}", qos=0) as answers:
        _send(client, "status", [ALL], command_id, limit_s)
        pause_s = limit_s
        while (message := answers.get(min(pause_s, end - time.monotonic()))) is not None:
            if fleet.choice.takes(message.device):
                device = fleet.devices.setdefault(message.device, Device(message.device))
                device.state, device.answered = "online", True
            pause_s = _SETTLED_S
    for message in subscription.drain(quiet_s=0.1, limit_s=0.3):
        fleet.take(message)


def _send(client: Client, command: str, devices: Sequence[str], command_id: str, limit_s: float) -> None:
    for device in devices:
        client.send(f"{device}/cmd/{command}", command_json(command_id, {}, limit_s + 30), expires_s=limit_s + 30)


@dataclass(frozen=True)
class Addressed(Sequence[str]):
    """The devices that a command goes to.

    Attributes:
        ids: All of them online.
        code: The exit code so far: `FAILED` where a device that was named is not among them.
    """

    ids: tuple[str, ...]
    code: int

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        return self.ids[at]

    def __len__(self) -> int:
        return len(self.ids)


def addressed(client: Client, choice: Choice | None) -> Addressed:
    """Return the devices that a command goes to; those that were named and are not there are told of on stderr.

    Args:
        client: An open client.
        choice: Which the user chose; None: the only one online.

    Raises:
        NoAnswerError: All that are meant are unknown or offline.
        ConfigError: None was chosen and several are online.
    """
    fleet = look(client, choice)
    online = fleet.ids(online=True)
    if choice is None and len(online) > 1:
        raise ConfigError(f"{len(online)} devices are online, choose one with --device: {listed(online)} (or all)")
    choice = choice or EVERY
    found = [device for device in online if choice.takes(device)]
    offline = [device for device in fleet.ids(online=False) if choice.takes(device)]
    if choice.only is not None and offline:
        raise NoAnswerError(f"{choice.only} is offline")
    if not found:
        known = seen(fleet if choice.every else look(client, None))
        if choice.only is not None:
            raise NoAnswerError(f"no device {choice.only!r} at {where(client)}; {known}")
        which = "no device" if choice.every else f"no device of {choice.text!r}"
        raise NoAnswerError(f"{which} is online at {where(client)}; {known}")
    unknown = [device for device in choice.named() if device not in fleet.devices]
    missing = [(device, "offline") for device in offline] if not choice.every else []
    missing += [(device, f"not known at {where(client)}") for device in unknown]
    for device, why in missing:
        note("edgectl", f"{device}: {why}")
    return Addressed(tuple(found), FAILED if missing else DONE)


def where(client: Client) -> str:
    """Tell where devices were looked for."""
    return f"{client.url} under '{client.prefix}/'"


def seen(fleet: Fleet) -> str:
    """Tell which devices there are."""
    online, offline = fleet.ids(online=True), fleet.ids(online=False)
    parts = [f"{name}: {listed(ids)}" for name, ids in (("online", online), ("offline", offline)) if ids]
    return "; ".join(parts) or "none has ever been there"


def listed(ids: Sequence[str]) -> str:
    """Name devices, the first of many."""
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
