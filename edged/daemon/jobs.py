"""`cancel` and `jobs`: what takes a while, whichever command began it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from edged.contract.commands import COMMANDS
from edged.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edged.contract.commands import CancelArgs, Command, JobsArgs
    from edged.mqtt.link import Link


class Runner(Protocol):
    """Runs one job at a time, each in a child process."""

    @property
    def running(self) -> str | None:
        """Id of the job that runs."""

    def cancel(self, id_: str) -> None:
        """Let that job end, if it is still the one that runs; its own state says so.

        Raises:
            CommandError: It is too late.
        """


class JobCommands:
    """The two commands.

    Args:
        runners: Name of the command that begins a job → who runs it.
        link: Remembers jobs.
    """

    def __init__(self, runners: Mapping[str, Runner], link: Link) -> None:
        self._runners = runners
        self._link = link

    def cancel(self, command: Command[CancelArgs]) -> dict[str, Any]:
        """End the job that is meant, or, where none is named, the one that runs."""
        args = command.args
        running = {name: id_ for name, runner in self._runners.items() if (id_ := runner.running) is not None}
        meant = {name: id_ for name, id_ in running.items() if id_.startswith(args.job or "")}
        told = ", ".join(f"{name} {id_}" for name, id_ in running.items())
        if not meant:
            raise CommandError(
                f"no job {args.job} is running; {told or 'none'} is" if args.job else "nothing is running"
            )
        if len(meant) > 1:
            raise CommandError(f"several jobs are running, name one: {told}")
        ((name, id_),) = meant.items()
        self._runners[name].cancel(id_)
        return {"job": id_, "cmd": name}

    def jobs(self, command: Command[JobsArgs]) -> dict[str, Any]:
        """Report the last jobs, without their reports; or one, with it."""
        args = command.args
        names = [name for name, model in COMMANDS.items() if model.lasting]
        if args.job is None:
            states = [json.loads(state) for state in self._link.ledger.jobs(names, args.limit)]
            return {"jobs": [{key: value for key, value in state.items() if key != "report"} for state in states]}
        states = [json.loads(state) for state in self._link.ledger.jobs(names, 2, args.job)]
        if not states:
            raise CommandError(f"job {args.job}: there is none with this id")
        if len(states) > 1:
            raise CommandError(f"job {args.job}: more than one id begins so; give more digits")
        return {"jobs": states}
