"""What every report is made of: fields that were never set stay away, unknown ones are ignored."""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Share: TypeAlias = float
"""A share of all, 0..1; written so because one class of a report has a field whose name on the wire is `float`."""


class ReportPart(BaseModel):
    """Base of everything in a report: frozen, finite numbers, and tolerant of fields that a newer device adds.

    Its validator is built when the first report is read or written: most processes that import this module never do.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; fields that were never set are left out."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _write_what_was_set(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were never set, also where the report is a part of another message."""
        return {name: value for name, value in write(self).items() if name in self.model_fields_set}


class PerformanceState(ReportPart):
    """What the machine was set to: who measures again must set it so. What it does not tell is absent.

    Attributes:
        l4t: Release of a Jetson's Linux, e.g. "35.4.1".
        nvpmodel: A Jetson's power mode.
        jetson_clocks: Whether a Jetson's clocks are locked.
        governor: Of the cores' clocks.
        clock_mhz: Some of "cpu", "gpu" → megahertz, when the work began.
        clock_range_mhz: Some of "cpu", "gpu" → the limits in force.
    """

    l4t: str | None = None
    nvpmodel: str | None = None
    jetson_clocks: bool | None = None
    governor: str | None = None
    clock_mhz: dict[str, int] | None = None
    clock_range_mhz: dict[str, tuple[int, int]] | None = None
