"""Topics, operations and messages as an AsyncAPI 3.0 document, of which the device is the application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edged.contract import channels, replies
from edged.contract.channels import CHANNELS, PARAMETERS, Channel
from edged.contract.commands import COMMANDS, Args
from edged.contract.messages import Ack, Message
from edged.contract.reports import REPORTS
from edged.mqtt.broker import PATH, PORTS
from edged.schema.descriptions import summary
from edged.schema.generate import Json, command_message, components
from edged.settings import MqttSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

_BINDING = "0.2.0"
"""Of the versions of AsyncAPI's MQTT bindings."""
_PREFIX = MqttSettings.model_fields["prefix"].default
_ABOUT = """\
What an edged device says over MQTT, and the commands that it takes. MQTT 5, or 3.1.1 where the broker knows no better,
which has no content types, response topics or user properties.

Made by `edged schema --asyncapi` of the models that the device itself reads and writes with."""
_SECURITY = {
    "password": {"type": "userPassword", "description": "`mqtt.username` and `mqtt.password_file`."},
    "certificate": {
        "type": "X509",
        "description": "The device's own: `mqtt.cert_file` and `mqtt.key_file`.",
    },
}
_ENCRYPTED = ("mqtts", "wss")


def asyncapi() -> Json:
    """Return the document."""
    commands = {name: command_message(args) for name, args in COMMANDS.items()}
    published = dict.fromkeys(channel.says for channel in CHANNELS if channel.says is not None)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edged",
            "version": str(Message.model_fields["v"].default),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": channels.JSON,
        "servers": {scheme: _server(scheme) for scheme in PORTS},
        "channels": {_key(one.topic): _published(one) for one in CHANNELS}
        | {f"cmd_{name}": _commanded(name, args) for name, args in COMMANDS.items()},
        "operations": {f"send_{_key(one.topic)}": _send(one) for one in CHANNELS}
        | {f"receive_{name}": _receive(name, args) for name, args in COMMANDS.items()},
        "components": {
            "messages": {_name(one): _message(one) for one in CHANNELS}
            | {f"cmd_{name}": _command(model) for name, model in commands.items()},
            "schemas": {
                **components(published, null=False),
                **components([*REPORTS.values(), *commands.values()], null=True),
            },
            "securitySchemes": _SECURITY,
        },
    }


def _server(scheme: str) -> Json:
    state = next(one for one in CHANNELS if one.topic == "state")
    server: Json = {
        "host": f"{{host}}:{PORTS[scheme]}",
        "protocol": scheme,
        "protocolVersion": "5",
        "variables": {"host": {"default": "localhost"}},
        "security": [_reference("securitySchemes", name) for name in _SECURITY]
        if scheme in _ENCRYPTED
        else [_reference("securitySchemes", "password")],
        "bindings": {
            "mqtt": {
                "cleanSession": True,
                "lastWill": {
                    "topic": f"{_PREFIX}/{{device}}/{state.topic}",
                    "qos": state.qos,
                    "message": channels.OFFLINE,
                    "retain": state.retain,
                },
                "bindingVersion": _BINDING,
            }
        },
    }
    return server | ({"pathname": PATH} if scheme in ("ws", "wss") else {})


def _published(channel: Channel) -> Json:
    parameters = re.findall(r"<(\w+)>", channel.topic)
    return {
        "address": "{prefix}/{device}/" + re.sub(r"<(\w+)>", r"{\1}", channel.topic),
        "description": _about(channel),
        "messages": {_name(channel): _reference("messages", _name(channel))},
        "parameters": _parameters("device", *parameters),
    }


def _commanded(name: str, args: type[Args]) -> Json:
    device = {"description": f"{PARAMETERS['device']} `all`: every device, each answers on its own topics."}
    return {
        "address": f"{{prefix}}/{{device}}/cmd/{name}",
        "description": _first_sentence(summary(args)),
        "messages": {name: _reference("messages", f"cmd_{name}")},
        "parameters": {**_parameters("device"), "device": device},
    }


def _parameters(*names: str) -> Json:
    prefix = {"description": "First level of every topic (`mqtt.prefix`).", "default": _PREFIX}
    return {"prefix": prefix} | {name: {"description": PARAMETERS[name]} for name in names}


def _send(channel: Channel) -> Json:
    key = _key(channel.topic)
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": _first_sentence(_about(channel)),
        "messages": [{"$ref": f"#/channels/{key}/messages/{_name(channel)}"}],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": _BINDING}},
    }


def _receive(name: str, args: type[Args]) -> Json:
    expiry = {"type": "integer", "minimum": 1, "description": "Seconds until `expires`; the broker drops it then."}
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/cmd_{name}"},
        "summary": _first_sentence(summary(args)),
        "messages": [{"$ref": f"#/channels/cmd_{name}/messages/{name}"}],
        "reply": {"channel": {"$ref": "#/channels/ack_id"}, "messages": [{"$ref": "#/channels/ack_id/messages/ack"}]},
        "bindings": {"mqtt": {"qos": 1, "retain": False, "messageExpiryInterval": expiry, "bindingVersion": _BINDING}},
        "x-max-bytes": args.max_bytes,
        "x-at-once": args.at_once,
        "x-lasting": args.lasting,
        "x-urgent": args.urgent,
    }


def _message(channel: Channel) -> Json:
    """Describe a message that is published; one may stand on two topics."""
    if channel.says is not None:
        payload, about = _reference("schemas", channel.says.__name__), summary(channel.says)
    else:
        payload = {"type": "string", **({"enum": list(channel.texts)} if channel.texts else {"format": "binary"})}
        about = channel.about
    content = channel.content[0]
    correlation = {"correlationData": _CORRELATION} if channel.says is Ack else {}
    return {
        "summary": about,
        "contentType": content,
        "payload": payload,
        "bindings": {"mqtt": _properties(content) | correlation},
    }


def _command(model: type[BaseModel]) -> Json:
    response = {
        "type": "string",
        "maxLength": replies.MAX_TOPIC_BYTES,
        "description": f"Gets the ack, too. Below the prefix only `{{prefix}}/{{device}}/{channels.RESPONSES}/…`.",
    }
    asked = {"responseTopic": response, "correlationData": _CORRELATION}
    return {
        "summary": _first_sentence(summary(model)),
        "contentType": channels.JSON,
        "payload": _reference("schemas", model.__name__),
        "bindings": {"mqtt": _properties(channels.JSON) | asked},
    }


_CORRELATION = {
    "type": "string",
    "format": "binary",
    "maxLength": replies.MAX_CORRELATION_BYTES,
    "description": "The sender's; its ack on the response topic has the same.",
}


def _properties(content: str) -> Json:
    indicator = {"payloadFormatIndicator": 1} if channels.is_text(content) else {}
    return {**indicator, "contentType": content, "bindingVersion": _BINDING}


def _about(channel: Channel) -> str:
    return channel.about or summary(channel.says or Message)


def _first_sentence(text: str) -> str:
    return " ".join(re.split(r"(?<=[.:]) *\n\n", text, maxsplit=1)[0].split())


def _key(topic: str) -> str:
    """Name of a kind of topic, e.g. `result_camera`."""
    return re.sub(r"\W+", "_", topic).strip("_")


def _name(channel: Channel) -> str:
    """Name of what is said there, e.g. `result`."""
    return channel.topic.partition("/")[0]


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
