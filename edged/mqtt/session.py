"""Open one MQTT session: MQTT 5 first, then 3.1.1 where the broker may know no better.

For those who connect once: `edged doctor`, a profile, `edgectl`. The daemon's link, which connects for ever, tries the
two versions in turn by itself (see `edged.mqtt.retry`).
"""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edged.mqtt.connection import Connection
from edged.mqtt.events import UNSUPPORTED_PROTOCOL, Closed, Event, Opened, Version

if TYPE_CHECKING:
    from edged.mqtt.broker import Broker

PROTOCOLS: tuple[Version, Version] = ("5", "3.1.1")
_OTHER_PROTOCOL = (0x01, UNSUPPORTED_PROTOCOL)
"""CONNACK codes of MQTT 3.1.1 and 5 for "I do not speak this version"."""
_CLOSE_S = 2.0

T = TypeVar("T")


def first_answer(attempt: Callable[[Version], T], may_speak_other: Callable[[T], bool]) -> T:
    """Try the protocol versions, newest first, until one gives an answer that another version would not change.

    Args:
        attempt: Tries one version and gives its answer.
        may_speak_other: Whether this answer leaves it open that the broker speaks another version.
    """
    answer = attempt(PROTOCOLS[0])
    return attempt(PROTOCOLS[1]) if may_speak_other(answer) else answer


@dataclass(frozen=True, slots=True)
class Session:
    """An attempt to open a session.

    Attributes:
        connection: Open where `error` is None, else closed.
        events: What the connection tells from now on.
        error: Why the broker did not let us in; None: it did.
        final: Another protocol version would make no difference.
        ms: How long the broker took to answer.
    """

    connection: Connection
    events: queue.Queue[Event]
    error: str | None
    final: bool
    ms: float

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self.connection.close()
        self.connection.join(_CLOSE_S)


def open_session(brokers: Sequence[Broker], *, purpose: str, will_topic: str, timeout_s: float) -> Session:
    """Connect under a client id of its own, so that a running daemon is not disturbed.

    Args:
        brokers: Addresses and login: tried in turn until one lets us in.
        purpose: Stands in the client id, e.g. "doctor".
        will_topic: Full topic of the Last Will.
        timeout_s: For each broker and protocol version.

    Returns:
        The open session, or the first broker's failure.

    Raises:
        ConfigError: A file or value of `[mqtt]` cannot be used.
    """
    first = _open(brokers[0], purpose, will_topic, timeout_s)
    if first.error is None:
        return first
    others = (_open(broker, purpose, will_topic, timeout_s) for broker in brokers[1:])
    return next((session for session in others if session.error is None), first)


def _open(broker: Broker, purpose: str, will_topic: str, timeout_s: float) -> Session:
    def attempt(protocol: Version) -> Session:
        # No SimpleQueue: before Python 3.13 a signal may make its `get` wait longer than it is told to, for ever.
        events: queue.Queue[Event] = queue.Queue()
        connection = Connection(
            broker=broker,
            client_id=f"edged-{purpose}-{uuid.uuid4().hex[:8]}",
            protocol=protocol,
            will_topic=will_topic,
            subscriptions=[],
            post=events.put,
            deliver=lambda _: None,
        )
        begin = time.monotonic()
        connection.start()
        try:
            event: Event | None = events.get(timeout=timeout_s)
        except queue.Empty:
            event = None
        ms = (time.monotonic() - begin) * 1e3
        if isinstance(event, Opened):
            return Session(connection, events, None, True, ms)
        connection.close()
        connection.join(_CLOSE_S)
        if not isinstance(event, Closed):
            return Session(connection, events, f"broker {broker.name}: no answer within {timeout_s:.0f} s", False, ms)
        refused = event.how == "refused" and event.code not in _OTHER_PROTOCOL
        return Session(connection, events, event.error, refused or event.how == "unreachable", ms)

    return first_answer(attempt, lambda session: not session.final)
