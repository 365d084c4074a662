"""How well a new model names a device's own labeled images, beside the model that answers: the device says so."""

from __future__ import annotations

import re
from contextlib import suppress

from pydantic import ValidationError

from edged.contract.reports import SideBySide
from edged.ctl.client import Client
from edged.ctl.errors import NoAnswerError, RejectedError
from edged.ctl.rollout.step import call
from edged.ctl.rollout.telling import reason
from edged.ctl.rollout.verdict import Accuracy

_BUSY = re.compile(r"a comparison of models is running: ([A-Za-z0-9_-]{1,64})")


def accuracy_on(client: Client, device: str, model: str) -> Accuracy:
    """Let a device compare an installed model with the one that answers, which goes on answering.

    A device that cannot compare them is no reason against the model: why not is in what is returned. One that falls
    silent is asked once more: the comparison changes nothing, and its end may have been lost with a connection.

    Args:
        client: An open client.
        device: Its id.
        model: Id of the new model.

    Raises:
        NoAnswerError: It does not answer.
    """
    asked_again = False
    while True:
        try:
            told = SideBySide.model_validate(call(client, device, "models_compare", {"model": model}))
        except NoAnswerError:
            if asked_again:
                raise
            asked_again = True
            continue
        except RejectedError as error:
            if (running := _BUSY.search(str(error))) is not None:
                _await(client, device, running[1])
                continue
            older = "unknown command" in str(error)
            return Accuracy(why="its edged is older than this edgectl" if older else reason(device, error))
        except ValidationError:
            return Accuracy(why="its report is of another form")
        return Accuracy(
            against=told.against,
            images=told.images,
            before=told.previous,
            after=told.accuracy,
            beyond_chance=bool(told.beyond_chance),
            unknown=told.unknown,
            why=told.why,
        )


def _await(client: Client, device: str, job: str) -> None:
    """Wait for the end of a comparison that somebody else has begun, or an edgectl that was killed."""
    try:
        with suppress(NoAnswerError):  # it ended before it could be followed
            for _ in client.jobs(job, device=device):
                pass
    finally:
        client.forget(job)
