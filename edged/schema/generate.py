"""A model as JSON Schema, draft 2020-12, with what its docstrings say; and in the older words of AsyncAPI's schemas."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from edged.contract.commands import Args, CommandMessage
from edged.schema import descriptions
from edged.settings import CameraSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

DIALECT = GenerateJsonSchema.schema_dialect
Json = dict[str, Any]


class _Documented(GenerateJsonSchema):
    """Pydantic's generator, which here describes models and fields as their docstrings do."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the descriptions of a model and its fields."""
        written = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        written.pop("description", None)
        if about := descriptions.summary(model):
            written["description"] = about
        said = {**_said_of_keys(model), **descriptions.fields(model)}
        for name, field in written.get("properties", {}).items():
            if name in said:
                field.setdefault("description", said[name])
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the library calls it by this signature
        """Leave out titles of fields: they repeat the name in capitals."""
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Say what keys must be so that other keys are refused: `patternProperties` alone lets them pass."""
        written = super().dict_schema(schema)
        if "patternProperties" in written:
            ((pattern, values),) = written.pop("patternProperties").items()
            written |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return written


class _WithoutNull(_Documented):
    """For what is absent where there is no value: published messages, and TOML, which knows no null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave out null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out a default of None: it stands for being absent."""
        written = super().default_schema(schema)
        if written.get("default", ...) is None:
            del written["default"]
        return written


@functools.cache
def command_message(args: type[Args]) -> type[CommandMessage]:
    """Return the model of the whole payload of a command with these arguments."""
    needed = any(field.is_required() for field in args.model_fields.values())
    field = (args, ...) if needed else (args, Field(default_factory=args))
    made: type[CommandMessage] = create_model(
        args.__name__.removesuffix("Args") + "Command", __base__=CommandMessage, args=field
    )
    made.__doc__ = args.__doc__
    return made


def json_schema(model: type[BaseModel], *, null: bool) -> Json:
    """Return the JSON Schema of what a model reads.

    Args:
        model: Of `edged.contract`, or the settings.
        null: Whether null may stand for what is absent.
    """
    return model.model_json_schema(schema_generator=_Documented if null else _WithoutNull)


def components(models: Iterable[type[BaseModel]], *, null: bool) -> Json:
    """Return the schemas of models and of what they hold, by class, for `#/components/schemas` of AsyncAPI."""
    generator = _Documented if null else _WithoutNull
    inputs: Sequence[tuple[type[BaseModel], Any]] = [(model, "validation") for model in models]
    template = "#/components/schemas/{model}"
    _, written = models_json_schema(inputs, schema_generator=generator, ref_template=template)
    schemas: Json = written["$defs"]
    return {name: _as_draft_7(schema) for name, schema in schemas.items()}


def _as_draft_7(value: Any) -> Any:
    """Write a schema in the words of draft 7, of which AsyncAPI's own schemas are made."""
    if isinstance(value, list):
        return [_as_draft_7(one) for one in value]
    if not isinstance(value, dict):
        return value
    written = {key: _as_draft_7(one) for key, one in value.items()}
    if "prefixItems" in written:
        written["items"] = written.pop("prefixItems")
    if "$ref" in written and len(written) > 1:  # whatever stands beside a reference is ignored there
        written["allOf"] = [{"$ref": written.pop("$ref")}]
    return written


def _said_of_keys(model: type[BaseModel]) -> dict[str, str]:
    """Return what the comments in `configs/edged.toml` say of the keys of a section; empty: the model is none."""
    sections = {field.annotation: name for name, field in Settings.model_fields.items()} | {CameraSettings: "cameras"}
    section = sections.get(model)
    keys = descriptions.configuration_keys()
    return {key: text for (place, key), text in keys.items() if section is not None and place == section}
