"""What a connection tells the link and its command thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from edged.contract.replies import Reply

UNSUPPORTED_PROTOCOL = 0x84
TAKEN_OVER = 0x8E

Version = Literal["5", "3.1.1"]
"""Of the MQTT protocol."""
How = Literal["unreachable", "refused", "dropped", "lost", "taken over"]


class Source(Protocol):
    """The connection that an event is of, as far as whoever takes the event may look at it."""

    @property
    def protocol(self) -> Version:
        """The version that it speaks."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The broker was reached, and not yet asked; from now on the connection is served by its owner."""

    connection: Source


@dataclass(frozen=True, slots=True)
class Opened:
    """The broker let us in.

    Attributes:
        connection: Which connection.
        window: How many publishes may be unacknowledged.
        max_bytes: The largest packet that the broker takes; None: it did not say.
    """

    connection: Source
    window: int
    max_bytes: int | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACK; `error` is the broker's reason when it refused the message (MQTT 5 only)."""

    connection: Source
    mid: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, posted exactly once.

    Attributes:
        connection: Which connection.
        how: "unreachable": no TCP or TLS; "refused": CONNACK said no; "dropped": closed before any CONNACK;
            "lost": was open; "taken over": another client came with our client id.
        error: One line for people.
        code: The broker's reason code, 0 if it gave none.
    """

    connection: Source
    how: How
    error: str
    code: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message on a subscribed topic.

    Attributes:
        topic: The whole of it.
        payload: As received.
        retained: Whether the broker had kept it.
        reply: Where its sender wants an answer; unchecked. None: it has no response topic.
    """

    topic: str
    payload: bytes
    retained: bool
    reply: Reply | None = None


Event = Reached | Opened | Acknowledged | Closed
