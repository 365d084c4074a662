"""Commands in the daemon: the one handler of each, and the thread that carries them out without stopping frames."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edged.contract.commands import COMMANDS, Args, Command
from edged.contract.messages import Job
from edged.errors import EdgedError
from edged.mqtt.turns import Turns

if TYPE_CHECKING:
    from edged.mqtt.link import Link

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Args)
WAITING = 128
"""Accepted commands of one name that wait at most…"""
WAITING_BYTES = 8 * 2**20
"""…or so few that their payloads are no more than this."""

Report = dict[str, Any] | None
"""A handler returns the job's report; None when the job goes on and publishes its own states, or there is no job."""


class Handlers:
    """The handler of each command; `add` keeps a command's arguments and its handler's parameter the same type."""

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[[Command[Any]], Report]] = {}

    def add(self, args: type[A], handler: Callable[[Command[A]], Report]) -> None:
        """Name the handler of a command.

        Raises:
            ValueError: It has one already.
        """
        if args.command in self._handlers:
            raise ValueError(f"command {args.command} has two handlers")
        self._handlers[args.command] = handler

    def check(self) -> None:
        """Make sure that no command of the contract is without a handler.

        Raises:
            ValueError: Names those that are.
        """
        if missing := COMMANDS.keys() - self._handlers.keys():
            raise ValueError(f"no handler for the command(s) {', '.join(sorted(missing))}")

    def __call__(self, command: Command[Args]) -> Report:
        """Carry a command out.

        Raises:
            EdgedError: It cannot be carried out; the text is for its sender.
        """
        return self._handlers[command.name](command)


class CommandWorker:
    """Carries commands out in the order in which they were accepted; urgent ones pass.

    Args:
        link: Where job states go.
        handlers: One for each command.
    """

    def __init__(self, link: Link, handlers: Handlers) -> None:
        self._link = link
        self._handlers = handlers
        self._queue: Turns[Command[Args]] = Turns({name for name, args in COMMANDS.items() if args.urgent})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def has_room(self, args: type[Args]) -> bool:
        """Whether one more of this command may be accepted."""
        return args.at_once or self._queue.count(args.command) < max(4, min(WAITING, WAITING_BYTES // args.max_bytes))

    def accept(self, command: Command[Args]) -> None:
        """Carry out a command that is done with its ack on the caller's thread; queue any other and return at once.

        Raises:
            EdgedError: The former cannot be carried out.
        """
        if command.args.at_once:
            self._handlers(command)
        else:
            self._queue.put(command.name, command)

    def request_stop(self) -> None:
        """Let no further command begin; returns at once. The jobs of commands that still wait end as failed."""
        self._stopping.set()
        self._queue.close()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Wait until the command at hand is finished and the thread has ended; False: not within `timeout_s`."""
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (command := self._queue.get()) is not None:
            if self._stopping.is_set():
                self._end(command, "failed", error="the daemon stopped")
                continue
            try:
                self._carry_out(command)
            except Exception:
                log.exception("command %s (%s) has failed", command.name, command.id)
                self._end(command, "failed", error="internal error; the daemon's log tells more")

    def _carry_out(self, command: Command[Args]) -> None:
        log.info("command %s (%s)", command.name, command.id)
        try:
            report = self._handlers(command)
        except EdgedError as error:
            self._end(command, "failed", error=str(error))
            return
        if report is not None:
            self._link.job(Job(id=command.id, cmd=command.name, status="succeeded", progress=1, report=report))

    def _end(self, command: Command[Args], status: Literal["failed"], *, error: str) -> None:
        log.info("command %s (%s): %s: %s", command.name, command.id, status, error)
        self._link.job(Job(id=command.id, cmd=command.name, status=status, error=error))
