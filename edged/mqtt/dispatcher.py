"""Received bytes → validated commands that run once, each answered with an ack. A thread of its own."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from edged.contract.commands import Args, Command
from edged.contract.messages import Ack, Job
from edged.contract.parsing import UNKNOWN_ID, CommandRejectedError, decode, validate
from edged.errors import CommandError
from edged.mqtt.events import Received
from edged.mqtt.ledger import Ledger

log = logging.getLogger(__name__)


class Dispatcher:
    """Takes what the network thread receives and calls the daemon.

    The ledger is asked before anything else: an id that was accepted once is answered again with the same bytes,
    whatever the copy looks like now. It is written before the ack and before `on_command`, so that a power cut may
    cost a command (found by `Ledger.unfinished`) but never runs one twice. Rejections are not remembered: nothing ran.
    A command whose arguments say `at_once` runs before its ack, which so tells that it is done; there is no job.

    Args:
        ledger: Where accepted ids live.
        registry: Command name → the class that declares it.
        publish: (topic below the device, payload) → publishes with QoS 1.
        job: Publishes and remembers the state of a job.
        on_command: Gets each command once, on this thread; must be quick. A CommandError that it raises becomes a
            `rejected` job.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: Mapping[str, type[Args]],
        publish: Callable[[str, bytes], None],
        job: Callable[[Job], None],
        on_command: Callable[[Command[Args]], None],
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._publish = publish
        self._job = job
        self._on_command = on_command
        self._inbox: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="edged-mqtt-commands", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def deliver(self, received: Received) -> None:
        """Enqueue a message; returns at once."""
        self._inbox.put(received)

    def stop(self, timeout_s: float) -> None:
        """Finish what was enqueued and end the thread, waiting at most `timeout_s`."""
        self._inbox.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (received := self._inbox.get()) is not None:
            try:
                self._handle(received)
            except Exception:  # the top of a thread: the next command must find it alive
                log.exception("command %s", received.topic)

    def _handle(self, received: Received) -> None:
        document = decode(received.topic, received.payload, self._registry)
        id_ = document.id
        known = self._ledger.answer(id_) if id_ != UNKNOWN_ID else None
        if known is not None:
            log.info("command %s %s came again; answered again", known.name, id_)
            if known.ack is not None:
                self._publish(f"ack/{id_}", known.ack)
            if known.job is not None:
                self._publish(f"job/{id_}", known.job)
            return
        try:
            now = datetime.now(timezone.utc)
            command = validate(document, retained=received.retained, now=now, registry=self._registry)
            at_once = command.args.at_once
            if at_once:
                self._run_at_once(command)
            ack = Ack(id=command.id, status="accepted").encode()
            try:
                self._ledger.accept(command.id, command.name, ack, finished=at_once)
            except sqlite3.Error as error:
                raise CommandRejectedError(
                    command.id, f"{command.name}: cannot be remembered on disk: {error}"
                ) from error
        except CommandRejectedError as error:
            log.warning("command %s rejected: %s", error.id, error)
            self._publish(f"ack/{error.id}", Ack(id=error.id, status="rejected", error=str(error)).encode())
            return
        self._publish(f"ack/{command.id}", ack)
        if at_once:  # there are thousands of them, and their effect is logged where it happens
            log.debug("command %s %s done", command.name, command.id)
            return
        log.info("command %s %s accepted", command.name, command.id)
        try:
            self._on_command(command)
        except CommandError as error:
            self._job(Job(id=command.id, cmd=command.name, status="rejected", error=str(error)))
        except Exception:  # the daemon's own code: whoever waits for this command must hear that it is over
            log.exception("command %s %s", command.name, command.id)
            self._job(
                Job(id=command.id, cmd=command.name, status="failed", error="internal error; see the device's log")
            )

    def _run_at_once(self, command: Command[Args]) -> None:
        try:
            self._on_command(command)
        except CommandError as error:
            raise CommandRejectedError(command.id, f"{command.name}: {error}") from error
        except Exception as error:  # as above
            log.exception("command %s %s", command.name, command.id)
            raise CommandRejectedError(command.id, "internal error; see the device's log") from error
