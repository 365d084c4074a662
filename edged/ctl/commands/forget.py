"""`edgectl forget`: what a device that is gone has left at the broker."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edged.ctl.choice import ALL
from edged.ctl.options import open_client
from edged.errors import ConfigError
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from collections.abc import Iterable

    from edged.ctl.client import Client
    from edged.ctl.subscription import Incoming

_KEPT = ("state", "info", "model", "job", "alert/drift")
"""The topics that a device retains messages on, but those of its cameras, which `info` names."""
_OF_CAMERAS = ("label", "picture")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("forget", run)
    parser.add_argument("forgotten", metavar="DEVICE", nargs="?", help="which (else that of --device)")
    parser.add_argument("--force", action="store_true", help="even while it is online")
    parser.add_argument(
        "--discovery-prefix",
        metavar="PREFIX",
        type=_level,
        help="where Home Assistant looks for devices: the device's homeassistant.prefix (homeassistant)",
    )


def run(args: argparse.Namespace) -> int:
    """Clear what a device that is gone has left at the broker.

    Its retained topics: state, info, model, job, alerts, those of its cameras, and what Home Assistant was told of it,
    where the device then disappears. A device that is online is left alone; it would miss them until it connects again.
    --force clears them all the same.

    Examples:
      edgectl forget old-02
      edgectl forget old-02 --discovery-prefix ha
      edgectl --device old-02 forget --force
    """
    from edged.contract.discovery import discovery_levels
    from edged.ctl.errors import AccessRefusedError, NoAnswerError
    from edged.ctl.fleet import where
    from edged.terminal.text import note, print_json, print_line

    given = [name for name in (args.forgotten, args.device) if name is not None]
    if not given or ALL in given or len(set(given)) > 1:
        raise ConfigError("forget: name one device, e.g. edgectl forget old-02")
    device = args.device = given[0]
    with open_client(args) as client, _at_home_assistant(args) as discovery:
        retained = _retained(client, device)
        description = _description(discovery, client.prefix, device)
        if not retained and not description:
            raise NoAnswerError(f"nothing of {device!r} is kept at {where(client)}")
        if retained.get("state") == b"online" and not args.force:
            note("edgectl", f"{device} is online; stop it first, or --force")
            return FAILED
        if description:  # first: there it is gone before its topics are empty
            with suppress(AccessRefusedError):
                discovery.publish(discovery_levels(device), b"", retain=True)
        for topic in retained:
            client.publish(f"{device}/{topic}", b"", retain=True)
        left = _retained(client, device).keys() | (description and _description(discovery, client.prefix, device))
    cleared = sorted((retained.keys() | description) - left)
    if args.json:
        print_json({"device": device, "cleared": cleared, "left": sorted(left)})
    elif cleared:
        print_line(f"{device}: cleared {', '.join(cleared)}")
    if left:
        note("edgectl", f"{device}: still there: {', '.join(sorted(left))}; does the broker let this user write them?")
    return FAILED if left else DONE


def _level(text: str) -> str:
    """Parse one level of a topic (an argparse type)."""
    from edged.contract.topics import check_topic_level

    try:
        return check_topic_level(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _at_home_assistant(args: argparse.Namespace) -> Client:
    """Make another client of the same broker, for the topics on which Home Assistant looks for devices."""
    from edged.contract.discovery import DEFAULT_PREFIX

    return open_client(argparse.Namespace(**{**vars(args), "prefix": args.discovery_prefix or DEFAULT_PREFIX}))


def _description(discovery: Client, prefix: str, device: str) -> set[str]:
    """Return the topic of what Home Assistant is told of the device; nothing where none stands there.

    Args:
        discovery: Below the discovery prefix.
        prefix: First level of the device's own topics: a device of the same name below another one is another device.
        device: Its id.
    """
    from edged.contract.discovery import discovery_levels, identifier
    from edged.ctl.errors import AccessRefusedError
    from edged.ctl.fleet import QUIET_S
    from edged.terminal.text import note

    topic = discovery_levels(device)
    try:
        with discovery.subscribe(topic) as subscription:
            arrived = list(subscription.drain(quiet_s=QUIET_S, limit_s=discovery.timeout_s))
    except AccessRefusedError as error:
        note("edgectl", f"what Home Assistant was told of {device} was not looked for: {error}")
        return set()
    ours = identifier(prefix, device)
    return {f"{discovery.prefix}/{topic}" for one in arrived if one.retained and ours in _identifiers(one)}


def _identifiers(description: Incoming) -> list[Any]:
    """Return by what Home Assistant knows the device of a description; whoever wrote it may have written anything."""
    device = description.raw().get("device")
    found = device.get("identifiers") if isinstance(device, dict) else None
    return found if isinstance(found, list) else [found]


def _retained(client: Client, device: str) -> dict[str, bytes]:
    """Return topic below the device → content of all that the broker keeps of it."""
    from edged.contract.messages import Info
    from edged.ctl.fleet import QUIET_S

    # By name too: RabbitMQ hands out a retained message only to who subscribes to its very topic.
    with client.subscribe(f"{device}/#", *(f"{device}/{topic}" for topic in _KEPT)) as subscription:
        found = _content(subscription.drain(quiet_s=QUIET_S, limit_s=client.timeout_s))
    try:
        cameras = list(Info.model_validate_json(found.get("info", b"")).cameras)
    except ValueError:
        return found
    missing = [f"{kind}/{name}" for kind in _OF_CAMERAS for name in cameras if f"{kind}/{name}" not in found]
    if missing:
        with client.subscribe(*(f"{device}/{topic}" for topic in missing)) as subscription:
            found |= _content(subscription.drain(quiet_s=QUIET_S, limit_s=client.timeout_s))
    return found


def _content(arrived: Iterable[Incoming]) -> dict[str, bytes]:
    return {"/".join(one.levels): one.payload for one in arrived if one.retained and one.payload}
