"""From the bytes of `cmd/<name>` to a Command, or a reason why not: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import BaseModel, ValidationError

from edged.contract.messages import Args, CommandMessage
from edged.errors import CommandError
from edged.types import Command

DEFAULT_MAX_BYTES = 64 * 1024
MAX_BYTES: dict[str, int] = {}
"""Command name → its limit, where it is not 64 KiB. Rooms above set theirs before the link starts."""
MAX_AGE = timedelta(hours=24)
"""A command without `expires` counts as expired when its `ts` is older."""
MAX_TEXT = 200
"""Characters of a value that an error repeats."""
UNKNOWN_ID = "unknown"
"""Names the ack of a command whose id cannot be read: `ack/unknown`."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CommandRejectedError(CommandError):
    """A command that must not run.

    Attributes:
        id: The sender's id, or "unknown" where there is no valid one to read.
    """

    def __init__(self, id_: str, reason: str) -> None:
        super().__init__(reason)
        self.id = id_


def command_id(payload: bytes) -> str:
    """Return the id in a command's payload, or "unknown"."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return UNKNOWN_ID
    id_ = document.get("id") if isinstance(document, dict) else None
    return id_ if isinstance(id_, str) and _ID.fullmatch(id_) else UNKNOWN_ID


def parse(*, topic: str, payload: bytes, retained: bool, now: datetime, registry: Mapping[str, type[Args]]) -> Command:
    """Validate a command.

    Args:
        topic: The full topic; its last level is the command's name.
        payload: As received.
        retained: Whether the broker had kept it: then it is not known when it was meant.
        now: Aware; what `expires` and `ts` are compared with.
        registry: Command name → its arguments.

    Raises:
        CommandRejectedError: One line that names the key, the value and what is allowed.
    """
    name = topic.rpartition("/")[2]
    limit = MAX_BYTES.get(name, DEFAULT_MAX_BYTES)
    if len(payload) > limit:
        # The head is enough to find the id that our own clients write first.
        head = re.search(rb'"id"\s*:\s*"([A-Za-z0-9_-]{1,64})"', payload[:DEFAULT_MAX_BYTES])
        id_ = head.group(1).decode() if head else UNKNOWN_ID
        raise CommandRejectedError(id_, f"{name}: {len(payload)} bytes; at most {limit} are allowed")
    document = _document(name, payload)
    id_ = document.get("id")
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        raise CommandRejectedError(UNKNOWN_ID, f"{name}: id = {_shown(id_)}: 1 to 64 of A-Z a-z 0-9 _ - are needed")
    if name not in registry:
        raise CommandRejectedError(id_, f"{_shown(name)}: unknown command; known here: {', '.join(sorted(registry))}")
    if retained:
        raise CommandRejectedError(id_, f"{name}: was published retained; publish commands without the retain flag")
    try:
        message = CommandMessage.model_validate(document)
    except ValidationError as error:
        raise CommandRejectedError(id_, f"{name}: {_mistake(error, CommandMessage, '')}") from error
    _refuse_late(name, message, now)
    try:
        args = registry[name].model_validate(message.args)
    except ValidationError as error:
        raise CommandRejectedError(id_, f"{name}: {_mistake(error, registry[name], 'args.')}") from error
    return Command(id=id_, name=name, args=args)


def _document(name: str, payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise CommandRejectedError(command_id(payload), f"{name}: not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno} column {error.colno}"
        raise CommandRejectedError(UNKNOWN_ID, f"{name}: not JSON: {reason}") from error
    except ValueError as error:  # NaN, or a number of thousands of digits
        raise CommandRejectedError(command_id(payload), f"{name}: not JSON: {error}") from error
    except RecursionError as error:
        raise CommandRejectedError(UNKNOWN_ID, f"{name}: not JSON: nested too deeply") from error
    if not isinstance(document, dict):
        raise CommandRejectedError(UNKNOWN_ID, f'{name}: {_shown(document)}: an object is needed, e.g. {{"id": "a1"}}')
    return document


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not allowed")


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
    first = error.errors(include_url=False)[0]
    key = where + ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown field; allowed: {', '.join(model.model_fields) or 'none'}"
    if first["type"] == "missing":
        return f"{key}: is missing"
    return f"{key} = {_shown(first.get('input'))}: {first['msg'].removeprefix('Value error, ')}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
