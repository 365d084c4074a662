"""One attempt to log in, for `edged doctor`."""

from __future__ import annotations

import queue
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from edged.mqtt.broker import broker
from edged.mqtt.connection import Connection
from edged.mqtt.events import Closed, Event, Opened, Protocol

if TYPE_CHECKING:
    from edged.settings import MqttSettings


_OTHER_PROTOCOL = (0x01, 0x84)
"""CONNACK codes of MQTT 3.1.1 and 5 for "I do not speak this version"."""


@dataclass(frozen=True, slots=True)
class Login:
    """What came of it: `error` None means that the broker let us in."""

    broker: str
    protocol: str
    ms: float
    error: str | None


def try_login(settings: MqttSettings, device: str, timeout_s: float = 5.0) -> Login:
    """Connect under a client id of its own (a running daemon is not disturbed) and disconnect.

    Args:
        settings: `[mqtt]`.
        device: For the topic that the unused Last Will names.
        timeout_s: For each protocol version.

    Raises:
        ConfigError: A file or value of `[mqtt]` cannot be used.
    """
    address = broker(settings)
    outcome = Login(address.name, "5", 0.0, f"no answer within {timeout_s:.0f} s")
    for protocol in sorted(get_args(Protocol), reverse=True):  # 5 before 3.1.1, as the link does
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        connection = Connection(
            broker=address,
            client_id=f"edged-doctor-{uuid.uuid4().hex[:8]}",
            protocol=protocol,
            will_topic=f"{settings.prefix}/{device}/doctor",
            subscriptions=[],
            post=events.put,
            deliver=lambda _: None,
        )
        begin = time.monotonic()
        connection.start()
        try:
            event = events.get(timeout=timeout_s)
        except queue.Empty:
            event = None
        ms = (time.monotonic() - begin) * 1e3
        connection.close()
        connection.join(2.0)
        if isinstance(event, Opened):
            return Login(address.name, protocol, ms, None)
        if isinstance(event, Closed):
            outcome = Login(address.name, protocol, ms, event.error)
            if event.how == "unreachable" or (event.how == "refused" and event.code not in _OTHER_PROTOCOL):
                break
    return outcome
