"""`cancel` and `jobs`: commands about jobs of whatever kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edged.contract.commands import COMMANDS

if TYPE_CHECKING:
    from edged.contract.commands import CancelArgs, Command, JobsArgs
    from edged.jobs.runner import JobRunner
    from edged.mqtt.link import Link


class JobCommands:
    """The commands about jobs.

    Args:
        runner: Runs them.
        link: Remembers them.
    """

    def __init__(self, runner: JobRunner, link: Link) -> None:
        self._runner = runner
        self._link = link

    def cancel(self, command: Command[CancelArgs]) -> dict[str, Any]:
        """End a job that runs; its own job says so."""
        return {"job": self._runner.cancel(command.args.job)}

    def jobs(self, command: Command[JobsArgs]) -> dict[str, Any]:
        """Report the last jobs, without their reports."""
        names = [name for name, model in COMMANDS.items() if model.lasting]
        states = [json.loads(state) for state in self._link.ledger.jobs(names, command.args.limit)]
        return {"jobs": [{key: value for key, value in state.items() if key != "report"} for state in states]}
