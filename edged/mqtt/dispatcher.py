"""Received bytes → validated commands that run once, each answered with an ack. A thread of its own."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edged.contract.commands import Args, Command
from edged.contract.messages import BUSY, Ack, Job
from edged.contract.parsing import UNKNOWN_ID, CommandRejectedError, Document, decode, find_id, validate
from edged.contract.replies import Reply
from edged.errors import CommandError
from edged.mqtt.events import Received
from edged.mqtt.ledger import Accepted, Ledger
from edged.mqtt.trust import REMEMBERED_S, SIGNED_WINDOW, Trust
from edged.mqtt.turns import Turns

log = logging.getLogger(__name__)

WAITING = 200
"""Received commands of one name that wait at most…"""
WAITING_BYTES = 16 * 2**20
"""…with so many bytes of payload, …"""
ALL_WAITING_BYTES = 32 * 2**20
"""…and so many of all names that are not urgent together."""
BATCH = 64
"""Commands that one write to the disk accepts, at most."""
BUSY_PER_S = 200
"""What does not fit is answered, `busy`, this often, so that these answers do not crowd out the others; the rest is
dropped without an answer, and counted."""
_LAST_S = 1.0
"""How long a stop waits for the command at hand."""
REPORT_S = 60.0
"""How often the log tells how many."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A received message, or `document` alone, where it is too large to be kept."""

    name: str
    received: Received
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A valid command that is about to be accepted; `done`: it has run; `reply`: where its ack goes besides."""

    command: Command[Args]
    ack: bytes
    done: bool
    reply: Reply | None


class Dispatcher:
    """Takes what the link receives and calls the daemon.

    Where commands must be signed, what is not, or not by a trusted key, is rejected before anything of it is parsed but
    its id, and before the ledger is asked, so that nobody else learns from it or writes to it. Else the ledger is asked
    before anything else: an id that was accepted once is answered again with the same bytes, whatever the copy looks
    like now. It is written before the ack and before `on_command`, so that a power cut may
    cost a command (found by `Ledger.unfinished`) but never runs one twice. Rejections are not remembered: nothing ran.
    A command whose arguments say `at_once` runs before its ack, which so tells that it is done; there is no job.

    What waits is bounded, by name, so that a flood of one command leaves room for the others, and urgent ones pass.
    What does not fit is rejected as busy, and not remembered: its sender may send it again. Commands that wait together
    are accepted by one write to the disk, which takes as long as that for a single one.

    Args:
        ledger: Where accepted ids live.
        registry: Command name → the class that declares it.
        publish: (topic below the device, payload) → publishes with QoS 1.
        answer: (response topic, ack) → publishes it there.
        check: Raises ValueError where a response topic must not be used: (it, command=the command's id).
        job: Publishes and remembers the state of a job.
        on_command: Gets each command once, on this thread; must be quick. A CommandError that it raises becomes a
            `rejected` job.
        has_room: Whether `on_command` may get one more of this kind; a few more than it says may come.
        trust: Whose commands are carried out; None: everybody's.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: Mapping[str, type[Args]],
        publish: Callable[[str, bytes], None],
        answer: Callable[[Reply, bytes], None],
        check: Callable[..., None],
        job: Callable[[Job], None],
        on_command: Callable[[Command[Args]], None],
        has_room: Callable[[type[Args]], bool] = lambda _: True,
        trust: Trust | None = None,
    ) -> None:
        self._ledger = ledger
        self._trust = trust or Trust()
        self._registry = registry
        self._publish = publish
        self._answer = answer
        self._check = check
        self._job = job
        self._on_command = on_command
        self._has_room = has_room
        self._inbox: Turns[_Arrival] = Turns({name for name, args in registry.items() if args.urgent})
        self._refused: deque[tuple[str, str, Reply | None]] = deque()
        self._answering = threading.Lock()
        self._second, self._answers = 0, 0
        self._dropped = self._reported = 0
        self._report_at = 0.0
        self._over = False
        self._at_work = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="edged-mqtt-commands", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def deliver(self, received: Received) -> None:
        """Let a message wait, or answer that there is no room for it; returns at once."""
        level = received.topic.rpartition("/")[2]
        name = level if level in self._registry else ""  # the names that a sender thinks up are one
        limit = self._registry.get(name, Args).max_bytes
        arrival = _Arrival(name, received)
        if len(received.payload) > limit:
            document = decode(received.topic, received.payload, self._registry)
            arrival = _Arrival(name, replace(received, payload=b""), document)
        size = len(arrival.received.payload)
        if received.reply is not None:
            size += len(received.reply.topic) + len(received.reply.correlation or b"")
        full = self._inbox.count(name) >= WAITING or self._inbox.size(name) + size > WAITING_BYTES
        urgent = self._registry.get(name, Args).urgent
        if not full and (urgent or self._inbox.size() + size <= ALL_WAITING_BYTES):
            self._inbox.put(name, arrival, size)
        elif self._may_answer():
            reply = None if self._trust.needed else received.reply  # nobody has looked who has signed it
            self._refused.append((level[:64], find_id(received.payload), reply))

    def stop(self, timeout_s: float) -> None:
        """Finish what was enqueued and end the thread, waiting at most `timeout_s`.

        What is not finished by then has no ack, so that its sender sends it again.
        """
        self._inbox.close()
        self._thread.join(timeout_s)
        ended = self._at_work.acquire(timeout=_LAST_S)  # the ledger is closed next: what is begun ends before
        self._over = True
        if ended:
            self._at_work.release()

    def _run(self) -> None:
        while (first := self._inbox.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and (another := self._inbox.get(wait=False)) is not None:
                batch.append(another)
            self._handle(batch)
            self._refuse()
            self._report()
        self._refuse()
        self._report(last=True)

    def _handle(self, batch: list[_Arrival]) -> None:
        taken: dict[str, _Taken] = {}
        for arrival in batch:
            try:
                with self._at_work:
                    if self._over:
                        return
                    self._judge(arrival, taken)
            except Exception:  # the top of a thread: the next command must find it alive
                log.exception("command %s", arrival.received.topic)
        try:
            with self._at_work:
                if not self._over:
                    self._accept(taken)
        except Exception:  # as above
            log.exception("commands %s", ", ".join(taken))

    def _judge(self, arrival: _Arrival, taken: dict[str, _Taken]) -> None:
        """Answer a message that is known or wrong; add any other to those that will be accepted."""
        received = arrival.received
        needed = self._trust.needed  # once: it may change at any moment
        document, trusted = self._open(arrival)
        id_ = document.id
        known = trusted or not needed
        # What nobody whom this device trusts has signed is answered on `ack/<id>` alone.
        reply, fault = self._where(received.reply if known else None, id_)
        if known and id_ in taken:  # it came twice, one soon after the other
            self._accept(taken)
        if known and self._answer_again(id_, reply):
            return
        try:
            now = datetime.now(timezone.utc)
            window = SIGNED_WINDOW if needed else None
            command = validate(document, retained=received.retained, now=now, registry=self._registry, window=window)
            if fault is not None:
                raise CommandRejectedError(id_, f"{command.name}: {fault}")
            if command.args.at_once:
                self._accept(taken)  # what waits for its answer does not wait for this one
                self._run_at_once(command)
            elif not self._has_room(type(command.args)):
                if self._may_answer():
                    self._refused.append((command.name, id_, reply))
                return
        except CommandRejectedError as error:
            self._reject(error, reply)
            return
        ack = Ack(id=id_, status="accepted").encode()
        taken[id_] = _Taken(command, ack, command.args.at_once, reply)
        if command.args.at_once:
            self._accept(taken)

    def _open(self, arrival: _Arrival) -> tuple[Document, bool]:
        """Return the document of a message, and whether it comes from whom this device trusts."""
        if arrival.document is not None:  # it was too large for anything to be looked at
            return arrival.document, False
        topic, payload = arrival.received.topic, arrival.received.payload
        try:
            body = self._trust.open(topic, payload)
        except ValueError as error:
            return Document(topic.rpartition("/")[2], find_id(payload), None, str(error)), False
        return decode(topic, body, self._registry), True

    def _where(self, reply: Reply | None, id_: str) -> tuple[Reply | None, str | None]:
        """Return where an ack goes besides `ack/<id>`, and why it does not go where the sender wants it."""
        try:
            if reply is not None:
                self._check(reply, command=id_)
        except ValueError as error:
            return None, str(error)
        return reply, None

    def _ack(self, id_: str, ack: bytes, reply: Reply | None) -> None:
        self._publish(f"ack/{id_}", ack)
        if reply is not None:
            self._answer(reply, ack)

    def _answer_again(self, id_: str, reply: Reply | None) -> bool:
        """Answer an id that was accepted before; False: it was not."""
        known = self._ledger.answer(id_) if id_ != UNKNOWN_ID else None
        if known is None:
            return False
        log.info("command %s %s came again; answered again", known.name, id_)
        if known.ack is not None:
            self._ack(id_, known.ack, reply)
        if known.job is not None:
            self._publish(f"job/{id_}", known.job)
        return True

    def _reject(self, error: CommandRejectedError, reply: Reply | None) -> None:
        log.warning("command %s rejected: %s", error.id, error)
        self._ack(error.id, Ack(id=error.id, status="rejected", error=str(error)).encode(), reply)

    def _accept(self, taken: dict[str, _Taken]) -> None:
        """Write all of them to the disk together; then answer each, and let it run."""
        if not taken:
            return
        commands = list(taken.values())
        taken.clear()
        try:
            self._ledger.accept_all(
                (Accepted(one.command.id, one.command.name, one.ack, one.done) for one in commands),
                keep_s=REMEMBERED_S if self._trust.needed else 0.0,
            )
        except sqlite3.Error as error:
            for one in commands:
                why = f"{one.command.name}: cannot be remembered on disk: {error}"
                self._reject(CommandRejectedError(one.command.id, why), one.reply)
            return
        for one in commands:
            self._ack(one.command.id, one.ack, one.reply)
            if one.done:  # there are thousands of them, and their effect is logged where it happens
                log.debug("command %s %s done", one.command.name, one.command.id)
            else:
                log.info("command %s %s accepted", one.command.name, one.command.id)
                self._hand_over(one.command)

    def _hand_over(self, command: Command[Args]) -> None:
        try:
            self._on_command(command)
        except CommandError as error:
            self._job(Job(id=command.id, cmd=command.name, status="rejected", error=str(error)))
        except Exception:  # the daemon's own code: whoever waits for this command must hear that it is over
            log.exception("command %s %s", command.name, command.id)
            self._job(
                Job(id=command.id, cmd=command.name, status="failed", error="internal error; see the device's log")
            )

    def _may_answer(self) -> bool:
        """Whether what does not fit gets an answer; else it is counted as dropped."""
        with self._answering:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._answers = second, 0
            self._answers += 1
            if self._answers <= BUSY_PER_S:
                return True
            self._dropped += 1
            return False

    def _refuse(self) -> None:
        """Answer what did not fit. It may be a copy of what was accepted: then as before."""
        while self._refused:
            name, id_, wanted = self._refused.popleft()
            try:
                with self._at_work:
                    if self._over:
                        return
                    self._answer_busy(name, id_, self._where(wanted, id_)[0])
            except Exception:  # as in `_handle`
                log.exception("command %s %s", name, id_)

    def _answer_busy(self, name: str, id_: str, reply: Reply | None) -> None:
        if not self._answer_again(id_, reply):
            error = f"{BUSY}too many {name} commands wait; send it again later"
            log.debug("command %s %s rejected: %s", name, id_, error)
            self._ack(id_, Ack(id=id_, status="rejected", error=error).encode(), reply)

    def _report(self, *, last: bool = False) -> None:
        now, dropped = time.monotonic(), self._dropped  # which another thread counts on
        if dropped > self._reported and (last or now >= self._report_at):
            self._report_at = now + REPORT_S
            log.warning("too many commands: %d were dropped unanswered", dropped - self._reported)
            self._reported = dropped

    def _run_at_once(self, command: Command[Args]) -> None:
        try:
            self._on_command(command)
        except CommandError as error:
            raise CommandRejectedError(command.id, f"{command.name}: {error}") from error
        except Exception as error:  # as above
            log.exception("command %s %s", command.name, command.id)
            raise CommandRejectedError(command.id, "internal error; see the device's log") from error
