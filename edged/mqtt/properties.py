"""What MQTT 5 tells of a message besides its topic and payload, as paho takes it. MQTT 3.1.1 has none of it.

* whatever is published below a device's topics, and its description for Home Assistant: content type, and payload
  format indicator 1 where it is text
* what the broker keeps: the user properties `edged`, the version of edged, and `v`, that of the wire contract, so that
  whoever finds it knows what has written it. What is published often has none: they are `info`'s business.
* an ack on a response topic: the correlation data of the command
* a command: the seconds after which the broker drops it
"""

from __future__ import annotations

import functools
import math

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged import __version__
from edged.contract.channels import JSON, TEXT, content_type, is_text
from edged.contract.discovery import is_description
from edged.contract.messages import Message


def of_message(topic: str, payload: bytes, *, retain: bool) -> Properties | None:
    """Return the properties of what a device publishes; None: it has none.

    Args:
        topic: The whole of it, `<prefix>/<device>/…`, or where Home Assistant looks for devices.
        payload: What is published.
        retain: Whether the broker keeps it.
    """
    _, _, below = topic.partition("/")[2].partition("/")
    content = JSON if is_description(topic, payload) else content_type(below, payload)
    return None if content is None else _packed(content, retain)


def of_ack(correlation: bytes | None) -> Properties:
    """Return the properties of an ack on a response topic."""
    properties = _of_content(JSON, PacketTypes.PUBLISH)
    if correlation is not None:
        properties.CorrelationData = correlation
    return properties


def of_will() -> Properties:
    """Return the properties of the Last Will."""
    return _of_content(TEXT, PacketTypes.WILLMESSAGE, told=True)


def of_command(expires_s: float | None) -> Properties:
    """Return the properties of a command.

    Args:
        expires_s: Seconds from now after which nobody is to get it; None: it stays as long as the broker likes.
    """
    properties = _of_content(JSON, PacketTypes.PUBLISH)
    if expires_s is not None:
        properties.MessageExpiryInterval = max(1, math.ceil(expires_s))
    return properties


@functools.cache
def _packed(content: str, retain: bool) -> _Packed:
    return _Packed(_of_content(content, PacketTypes.PUBLISH, told=retain))


def _of_content(content: str, packet: int, *, told: bool = False) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho annotates only in part
    properties.ContentType = content
    if is_text(content):
        properties.PayloadFormatIndicator = 1
    if told:
        version = Message.model_fields["v"].default
        properties.UserProperty = [("edged", __version__), ("v", str(version))]
    return properties


class _Packed(Properties):
    """Properties that do not change any more: paho would put their bytes together anew for each message."""

    _bytes: bytes

    def __init__(self, properties: Properties) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho annotates only in part
        object.__setattr__(self, "_bytes", properties.pack())  # type: ignore[no-untyped-call]  # as above

    def pack(self) -> bytes:
        """Return the bytes."""
        return self._bytes
