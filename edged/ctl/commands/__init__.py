"""The commands of edgectl, one module each: `register(commands)`, and `run(args)`, which returns the exit code."""

from types import ModuleType

from edged.ctl.commands import (
    adjust,
    completion,
    console,
    forget,
    images,
    jobs,
    keys,
    learn,
    login,
    models,
    profile,
    retrain,
    rollouts,
    snapshot,
    status,
    telemetry,
    top,
    watch,
)

GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "look": (status, top, watch, telemetry, console),
    "act on a device": (snapshot, adjust, profile, forget),
    "teach it": (images, retrain, learn, jobs, models, rollouts),
    "who may, and where": (login, keys),
    "this program": (completion,),
}
"""Heading on the help page → its commands, in order."""
