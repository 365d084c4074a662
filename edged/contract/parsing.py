"""From the bytes of `cmd/<name>` to a typed command, or one line that says why not. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import BaseModel, ValidationError

from edged.contract.commands import COMMANDS, Args, Command, CommandMessage
from edged.errors import CommandError, first_mistake

MAX_AGE = timedelta(hours=24)
"""A command without `expires` counts as expired when its `ts` is older."""
MAX_TEXT = 200
"""Characters of a value, or of its key, that an error repeats."""
UNKNOWN_ID = "unknown"
"""Names the ack of a command whose id cannot be read: `ack/unknown`."""

_MOST_ENTRIES = 100_000
"""Of lists and objects in one payload: each takes up to 250 bytes of memory once it is decoded, and meanwhile no other
thread runs. A model's labels and its training's report are some thousands."""
_HEAD_BYTES = 64 * 1024
"""Of a payload that is too large to be parsed, this much is searched for the id, which our own clients write first."""
_SHORT_BYTES = 4096
"""Of a payload that nobody has time to parse, this much is."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID_IN_HEAD = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')


class CommandRejectedError(CommandError):
    """A command that must not run.

    Attributes:
        id: The sender's id, or "unknown" where there is no valid one to read.
    """

    def __init__(self, id_: str, reason: str) -> None:
        super().__init__(reason)
        self.id = id_


@dataclass(frozen=True, slots=True)
class Document:
    """A payload that was decoded once, and not yet checked against its command.

    Attributes:
        name: The command's name, from the topic.
        id: The sender's id, or "unknown" where there is no valid one to read.
        content: The JSON object; None where `fault` says why there is none.
        fault: What is wrong with the payload as a whole: too large, not UTF-8, not JSON, no object. None: nothing.
    """

    name: str
    id: str
    content: dict[str, Any] | None
    fault: str | None = None


def decode(topic: str, payload: bytes, registry: Mapping[str, type[Args]] = COMMANDS) -> Document:
    """Decode a payload, unless it is larger than its command may be; never raises.

    Args:
        topic: The full topic; its last level is the command's name.
        payload: As received.
        registry: Command name → the class that declares it.
    """
    name = topic.rpartition("/")[2]
    limit = registry.get(name, Args).max_bytes
    if fault := _too_large(payload, limit):
        head = _ID_IN_HEAD.search(payload[:_HEAD_BYTES])
        id_ = head.group(1).decode() if head else UNKNOWN_ID
        return Document(name, id_, None, fault)
    try:
        content, constants = _json(payload)
    except ValueError as error:
        return Document(name, UNKNOWN_ID, None, str(error))
    id_ = content.get("id")
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        fault = f"id = {_shown(id_)}: 1 to 64 of A-Z a-z 0-9 _ - are needed"
        return Document(name, UNKNOWN_ID, None, fault)
    if constants:
        return Document(name, id_, None, f"not JSON: {constants[0]} is not allowed")
    if b"\\u" in payload and (half := _half_of_a_character(content)) is not None:
        return Document(name, id_, None, f"{_shown(half)} holds half of a character (a lone surrogate); send text")
    return Document(name, id_, content)


def find_id(payload: bytes) -> str:
    """Find a command's id, or "unknown", at little cost: a payload that is not short is not parsed. Never raises."""
    if len(payload) <= _SHORT_BYTES:
        return decode("", payload, {}).id
    head = _ID_IN_HEAD.search(payload[:_SHORT_BYTES])
    return head.group(1).decode() if head else UNKNOWN_ID


def validate(
    document: Document,
    *,
    retained: bool,
    now: datetime,
    registry: Mapping[str, type[Args]] = COMMANDS,
    window: timedelta | None = None,
) -> Command[Args]:
    """Check a decoded payload against its command.

    Args:
        document: What `decode` returned.
        retained: Whether the broker had kept it: then it is not known when it was meant.
        now: Aware; what `expires` and `ts` are compared with.
        registry: Command name → the class that declares it.
        window: `ts` must be there, and no further from `now` than this; None: it need not.

    Raises:
        CommandRejectedError: One line that names the key, the value and what is allowed.
    """
    name, id_ = document.name, document.id
    if document.content is None:
        raise CommandRejectedError(id_, f"{name if name in registry else _shown(name)}: {document.fault}")
    if name not in registry:
        raise CommandRejectedError(id_, f"{_shown(name)}: unknown command; known here: {', '.join(sorted(registry))}")
    if retained:
        raise CommandRejectedError(id_, f"{name}: was published retained; publish commands without the retain flag")
    try:
        message = CommandMessage.model_validate(document.content)
    except ValidationError as error:
        raise CommandRejectedError(id_, f"{name}: {_mistake(error, CommandMessage, '')}") from error
    if window is not None:
        _refuse_stale(name, message, now, window)
    _refuse_late(name, message, now)
    try:
        args = registry[name].model_validate(message.args)
    except ValidationError as error:
        raise CommandRejectedError(id_, f"{name}: {_mistake(error, registry[name], 'args.')}") from error
    return Command(id=id_, args=args)


def _too_large(payload: bytes, limit: int) -> str | None:
    """Say why a payload is not decoded at all; None: it may be. Commas and brackets within texts count too."""
    if len(payload) > limit:
        return f"{len(payload)} bytes; at most {limit} are allowed"
    if len(payload) <= _MOST_ENTRIES:  # so most payloads are not searched
        return None
    entries = sum(map(payload.count, (b",", b"[", b"{")))
    return (
        f"{entries} entries of lists and objects; at most {_MOST_ENTRIES} are allowed"
        if (entries > _MOST_ENTRIES)
        else None
    )


def _json(payload: bytes) -> tuple[dict[str, Any], list[str]]:
    """Return the JSON object that a payload holds, and the constants in it that are Python's and not JSON's: NaN.

    Raises:
        ValueError: Why there is none.
    """
    constants: list[str] = []
    try:
        content = json.loads(payload.decode("utf-8"), parse_constant=constants.append)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("not JSON: nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f'{_shown(content)}: an object is needed, e.g. {{"id": "a1"}}')
    return content, constants


def _half_of_a_character(content: Any) -> str | None:
    """Return a text with a surrogate that has no partner: JSON can escape one, and UTF-8 cannot write it.

    It would not get into a file name, a message or the log.
    """
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if _SURROGATE.search(one):
                return one
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
    return None


def _refuse_stale(name: str, message: CommandMessage, now: datetime, window: timedelta) -> None:
    """Refuse a signed command that says of no time, or of another one than it is here, that it is its own."""
    if message.ts is None:
        raise CommandRejectedError(message.id, f"{name}: ts: is missing; a signed command must tell when it was signed")
    if abs(now - _utc(message.ts)) > window:
        where = "ago" if _utc(message.ts) < now else "ahead"
        raise CommandRejectedError(
            message.id,
            f"{name}: was signed at {message.ts.isoformat()} by the sender's clock, and it is {now.isoformat()} by "
            f"this device's: more than {window // timedelta(minutes=1)} minutes {where}; if it was sent just now, one "
            "of the clocks is wrong",
        )


def _refuse_late(name: str, message: CommandMessage, now: datetime) -> None:
    if message.expires is not None:
        if _utc(message.expires) < now:
            raise CommandRejectedError(
                message.id, f"{name}: expired at {message.expires.isoformat()}; it is {now.isoformat()} here"
            )
    elif message.ts is not None and now - _utc(message.ts) > MAX_AGE:
        raise CommandRejectedError(
            message.id, f"{name}: ts = {message.ts.isoformat()} is more than 24 hours ago; it is {now.isoformat()} here"
        )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _mistake(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Say the first mistake: key, value, what is allowed."""
    mistake = first_mistake(error)
    key = where + (mistake.key if mistake.key.isprintable() else ascii(mistake.key)[1:-1])
    key = key if len(key) <= MAX_TEXT else key[:MAX_TEXT] + "…"
    if mistake.kind == "extra_forbidden":
        return f"{key}: unknown field; allowed: {', '.join(model.model_fields) or 'none'}"
    if mistake.kind == "missing":
        return f"{key}: is missing"
    return f"{key} = {_shown(mistake.value)}: {mistake.text}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
