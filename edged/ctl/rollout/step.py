"""One step on one device: let a model answer, or take it back; and what has been done there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edged.contract.messages import Job
from edged.ctl.client import Client
from edged.ctl.errors import NoAnswerError, RejectedError

Send = Callable[[Client, str], Job | None]
"""Sends the model to a device, which installs it; None: it did not, and why was said on stderr."""
SLOW_S = 60.0
"""How long a device may take to open a model, beyond the client's own patience: a Jetson Nano is no workstation."""


@dataclass(frozen=True)
class Truth:
    """What a device answers when it is asked for its models.

    Attributes:
        current: Id of the one that answers.
        previous: Id of the one that a rollback goes back to; None: there is none.
        ids: Ids of all that are there.
    """

    current: str | None
    previous: str | None
    ids: frozenset[str]


def truth(client: Client, device: str) -> Truth:
    """Ask a device for its models. It answers when it has done whatever was sent before, by whomever.

    Raises:
        NoAnswerError, RejectedError: It does not answer, or with an error.
    """
    rows = [row for row in call(client, device, "models_list", {}).get("models") or () if isinstance(row, dict)]
    return Truth(
        current=next((str(row.get("id")) for row in rows if row.get("current")), None),
        previous=next((str(row.get("id")) for row in rows if row.get("previous")), None),
        ids=frozenset(str(row.get("id")) for row in rows),
    )


def use(client: Client, device: str, model: str) -> None:
    """Let a model answer.

    Raises:
        NoAnswerError, RejectedError: It does not answer, or the model fails there.
    """
    call(client, device, "models_use", {"model": model})


def take_back(client: Client, device: str, model: str, before: str | None) -> str:
    """Let the model before answer again, where the new one still does.

    Args:
        client: An open client.
        device: Its id.
        model: Id of the new one.
        before: Id of the one that answered before.

    Returns:
        Id of the one that answers now.

    Raises:
        NoAnswerError, RejectedError: It does not answer, or with an error.
    """
    known = truth(client, device)
    if known.current != model:
        return known.current or "–"
    if before is not None and known.previous != before:
        use(client, device, before)  # somebody has used another one since: a rollback would go there
        return before
    return str(call(client, device, "rollback", {}).get("id") or before)


def call(client: Client, device: str, cmd: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Send a command and return the report of its job.

    Raises:
        NoAnswerError: The device does not answer.
        RejectedError: It refuses or fails; the text is its reason.
    """
    ack = client.command(device, cmd, args)
    try:
        *_, job = client.jobs(ack.id, silence_s=client.timeout_s + SLOW_S)
    except NoAnswerError as error:
        raise NoAnswerError(f"{device} said nothing more of {cmd}") from error
    finally:
        client.forget(ack.id)
    if job.status != "succeeded":
        raise RejectedError(f"{device}: {cmd} {job.status}: {job.error or 'it gives no reason'}")
    return job.report or {}
