"""Where an ack goes besides `ack/<id>`: to the response topic of a command (MQTT 5), if that can do no harm. Pure.

Whoever commands a device chooses that topic, and the device publishes there with its own rights, which may be others
than those of the sender. So only acks go there; and never to what another device would take for a command, what the
broker itself listens to, or what anybody would take for this or another device's own word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edged.contract.channels import RESPONSES

MAX_TOPIC_BYTES = 256
"""Of a response topic in UTF-8: as long as a topic may be on AWS IoT Core and Azure Event Grid."""
MAX_CORRELATION_BYTES = 1024
"""Of correlation data, which waits in memory with its command."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the sender of a command wants its ack.

    Attributes:
        topic: The whole response topic.
        correlation: What the sender knows its request by; it gets the same bytes back. None: it sent none.
    """

    topic: str
    correlation: bytes | None = None


def check_reply(reply: Reply, *, command: str, prefix: str, device: str) -> None:
    """Make sure that an ack may be sent there.

    Args:
        reply: What the command asks for.
        command: Its id.
        prefix: `mqtt.prefix`.
        device: `device.id` of this device.

    Raises:
        ValueError: One line that says what is wrong.
    """
    topic, below = reply.topic, f"{prefix}/{device}/{RESPONSES}/"
    # To RabbitMQ a dot in a topic is a slash.
    levels = re.split(r"[/.]", topic)
    faults = {
        "is empty": not topic,
        f"is longer than {MAX_TOPIC_BYTES} bytes": len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES,
        "holds a wildcard": "+" in topic or "#" in topic,
        "holds what cannot be printed": not topic.isprintable(),
        "begins with $, which is the broker's": topic.startswith("$"),
        "is one of commands": any(level.casefold() == "cmd" for level in levels),
        f"is one of edged's own; below {prefix}/ use {below}…": levels[0] == prefix
        and not (topic.startswith(below) and len(topic) > len(below))
        and topic != f"{prefix}/{device}/ack/{command}",
    }
    if fault := next((text for text, found in faults.items() if found), None):
        raise ValueError(f"response topic {topic[:_SHOWN]!a} {fault}")
    if reply.correlation is not None and len(reply.correlation) > MAX_CORRELATION_BYTES:
        size = len(reply.correlation)
        raise ValueError(f"correlation data of {size} bytes; at most {MAX_CORRELATION_BYTES} are allowed")
