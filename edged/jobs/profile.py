"""The profile as a child process, and what it tells the daemon; the process itself stands in the lab."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from edged.contract.requests import ProfileRequest
from edged.jobs.process import Child


class ProfileProgress(BaseModel):
    """What is being measured, and the fraction 0..1 of everything that is done."""

    stage: str
    fraction: float


class ProfileOutcome(BaseModel):
    """What was found: see `edged.lab.profiling.profile.profile`."""

    report: dict[str, Any]


PROFILE = Child("edged.lab.profiling.job", "profile", ProfileRequest, ProfileProgress, ProfileOutcome)
