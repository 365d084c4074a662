"""`cancel` and `jobs`: what takes a while, whichever command began it."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from edged.contract.commands import COMMANDS
from edged.errors import CommandError

if TYPE_CHECKING:
    from edged.contract.commands import CancelArgs, Command, JobsArgs
    from edged.jobs.runner import JobRunner
    from edged.mqtt.link import Link

log = logging.getLogger(__name__)


class JobCommands:
    """The two commands.

    Args:
        runner: Runs jobs.
        link: Remembers jobs.
    """

    def __init__(self, runner: JobRunner, link: Link) -> None:
        self._runner = runner
        self._link = link

    def cancel(self, command: Command[CancelArgs]) -> dict[str, Any]:
        """End the job that is meant, or, where none is named, the one that runs."""
        job = self._runner.cancel(command.args.job)
        return {"job": job.id, "cmd": job.kind.command}

    def jobs(self, command: Command[JobsArgs]) -> dict[str, Any]:
        """Report the last jobs, without their reports; or one, with it."""
        args = command.args
        names = [name for name, model in COMMANDS.items() if model.lasting]
        if args.job is None:
            states = _decoded(self._link.ledger.jobs(names, args.limit))
            return {"jobs": [{key: value for key, value in state.items() if key != "report"} for state in states]}
        states = _decoded(self._link.ledger.jobs(names, 2, args.job))
        if not states:
            raise CommandError(f"job {args.job}: there is none with this id")
        if len(states) > 1:
            raise CommandError(f"job {args.job}: more than one id begins so; give more digits")
        return {"jobs": states}


def _decoded(states: list[bytes]) -> list[dict[str, Any]]:
    """Decode what is kept of jobs; what the disk has changed into anything else is left out, and told in the log."""
    jobs = []
    for state in states:
        try:
            job = json.loads(state)
        except (ValueError, RecursionError):
            job = None
        if isinstance(job, dict):
            jobs.append(job)
        else:
            log.error("what was kept of a job on disk is damaged: %r", state[:60])
    return jobs
