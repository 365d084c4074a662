"""Which topics there are below `<prefix>/<device>/`: what is said on each, with which QoS, kept by the broker or not.

A part in angle brackets stands for one level of a topic; `PARAMETERS` tells what. Commands have topics too,
`cmd/<name>`, one for each of `commands.COMMANDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edged.contract.messages import Ack, Alert, CameraLabel, Info, Job, Message, ModelInfo, Result, Telemetry

JSON: Final = "application/json"
TEXT: Final = "text/plain"
BYTES: Final = "application/octet-stream"
_PICTURES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"BM": "image/bmp", b"RIFF": "image/webp"}
"""How a file of each kind that edged reads begins (`edged.codec`) → its content type."""

RESPONSES: Final = "response"
"""What is below this level of a device's topic is nobody's: whoever commands may have acks sent there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What a device says on one kind of topic.

    Attributes:
        topic: Below `<prefix>/<device>/`.
        says: The model of what is said, in JSON; None: it is no JSON.
        content: Content types that a payload may have.
        texts: All that may be said, where it is plain text.
        about: What is said, in a sentence; empty: the docstring of `says` tells it.
        qos: Quality of service, 0 or 1.
        retain: Whether the broker keeps the newest one.
    """

    topic: str
    says: type[Message] | None = None
    content: tuple[str, ...] = (JSON,)
    texts: tuple[str, ...] = ()
    about: str = ""
    qos: int = 1
    retain: bool = False


ONLINE: Final = "online"
OFFLINE: Final = "offline"

CHANNELS: Final = (
    Channel(
        topic="state",
        content=(TEXT,),
        texts=(ONLINE, OFFLINE),
        about="Whether the device is there. `offline` is its Last Will, too: the broker says so of one that is gone.",
        retain=True,
    ),
    Channel(topic="info", says=Info, retain=True),
    Channel(topic="model", says=ModelInfo, retain=True),
    Channel(topic="result/<camera>", says=Result),
    Channel(topic="label/<camera>", says=CameraLabel, retain=True),
    Channel(topic="alert/<alert>", says=Alert, about="What is strange; empty where it is over.", retain=True),
    Channel(topic="telemetry", says=Telemetry, qos=0),
    Channel(topic="ack/<id>", says=Ack),
    Channel(topic="job/<id>", says=Job),
    Channel(topic="job", says=Job, about="The newest state of the last job that takes a while.", retain=True),
    Channel(
        topic="image/<id>",
        content=tuple(_PICTURES.values()),
        about="The picture that a command asked for: a JPEG, or a file as it was pushed.",
    ),
    Channel(
        topic="picture/<camera>",
        content=("image/jpeg",),
        about="What a camera sees, small, where Home Assistant is to find the device; empty where it is not any more.",
        retain=True,
    ),
    Channel(
        topic="bottlenecks/<id>",
        content=(BYTES,),
        about="A part of what `bottlenecks_get` has made ready.",
    ),
)

PARAMETERS: Final = {
    "device": "The device's id (`device.id`).",
    "camera": "Name of a camera, a key of `[cameras]`.",
    "alert": "Name of what is strange, e.g. `drift`: a camera shows what nobody has taught.",
    "id": "The id of the command that this answers.",
}
"""What a part of a topic stands for."""

_WORDS: Final = frozenset({JSON, TEXT})
_BY_LEVEL: Final = {channel.topic.partition("/")[0]: channel for channel in CHANNELS}


def content_type(topic: str, payload: bytes) -> str | None:
    """Return the content type of what a device publishes; None where it cannot be told, or there is nothing in it.

    It is known from the topic and the bytes alone, so that what waited on disk has it, too.

    Args:
        topic: Below `<prefix>/<device>/`.
        payload: What is published there.
    """
    channel = _BY_LEVEL.get(topic.partition("/")[0])
    if channel is None or not payload:
        return None
    if len(channel.content) == 1:
        return channel.content[0]
    return next((kind for start, kind in _PICTURES.items() if payload.startswith(start)), None)


def is_text(content: str) -> bool:
    """Whether payloads of a content type are UTF-8 (payload format indicator 1)."""
    return content in _WORDS
