"""Which schemas there are, under which names, and the files that they are kept in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edged.contract.channels import CHANNELS
from edged.contract.commands import COMMANDS
from edged.contract.reports import REPORTS
from edged.schema.asyncapi import asyncapi
from edged.schema.generate import DIALECT, Json, command_message, json_schema
from edged.settings import Settings

if TYPE_CHECKING:
    from pydantic import BaseModel

CONFIGURATION = "edged.toml"
_ID = "urn:edged:schema:1:"


def names() -> list[str]:
    """Return the names of all schemas: of messages, reports, commands, and the configuration."""
    return [*_published(), *_reports(), *_commands(), CONFIGURATION]


def schema(name: str) -> Json:
    """Return one schema, draft 2020-12.

    Raises:
        KeyError: There is none of this name.
    """
    if name == CONFIGURATION:
        document = json_schema(Settings, null=False)
    elif name in _published():
        document = json_schema(_published()[name], null=False)
    else:
        document = json_schema((_reports() | _commands())[name], null=True)
    return {"$schema": DIALECT, "$id": f"{_ID}{name}", **document}


def bundle() -> Json:
    """Return all schemas in one document, each under its name in `$defs`."""
    return {"$schema": DIALECT, "$id": f"{_ID}all", "$defs": {name: schema(name) for name in names()}}


def files() -> dict[str, str]:
    """Return path → content of every file of `configs/schema`."""
    documents = {f"{name}.json": schema(name) for name in names()} | {"asyncapi.json": asyncapi()}
    return {path: text(document) for path, document in documents.items()}


def text(document: Json) -> str:
    """Return a document as it is printed and kept."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _published() -> dict[str, type[BaseModel]]:
    return {channel.topic.partition("/")[0]: channel.says for channel in CHANNELS if channel.says is not None}


def _reports() -> dict[str, type[BaseModel]]:
    return {f"report/{name}": model for name, model in REPORTS.items()}


def _commands() -> dict[str, type[BaseModel]]:
    return {f"cmd/{name}": command_message(args) for name, args in COMMANDS.items()}
