"""The link to the broker: publishes without waiting, survives what networks do, and brings commands.

One thread owns all state, and serves the connection; every other thread only puts something into its queue. Its events
are messages to publish, acknowledgements, and the beginning and end of connections. Another one is there while a broker
is tried, which may take long: meanwhile what is published has to reach the disk.
"""

from __future__ import annotations

import logging
import math
import select
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from edged.contract.channels import OFFLINE, ONLINE
from edged.contract.commands import COMMANDS, Args, Command
from edged.contract.messages import Job
from edged.contract.replies import Reply, check_reply
from edged.errors import CommandError
from edged.mqtt.broker import Broker, brokers
from edged.mqtt.connection import Connection
from edged.mqtt.delivery import Delivery, fits
from edged.mqtt.dispatcher import Dispatcher
from edged.mqtt.events import Acknowledged, Closed, Event, Opened, Reached, Received
from edged.mqtt.ledger import Ledger
from edged.mqtt.outbox import Outbox
from edged.mqtt.retry import HANDSHAKE_S, Retry
from edged.mqtt.trust import Trust
from edged.mqtt.waker import Waker
from edged.settings import MqttSettings

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""How long a stopping link waits for the acknowledgement of `offline`, at least."""
CLOSING_S = 2 * FAREWELL_S + 1.0
"""How long a stopping link may take beyond its deadline, when the broker says nothing."""
REMIND_S = 600.0
"""How often the same error is logged."""

WAITING_ANSWERS = 256
"""Acks for response topics that wait for a broker that is slow; what is beyond is on `ack/<id>` alone."""

Outgoing = tuple[str, bytes, int, bool, float, Callable[[], None] | None]
"""Topic, payload, QoS (-1: retained state, see `Link.retained`), retain, when it was handed to us, and who is to be
told that the broker has acknowledged it (see `Link.withdraw`)."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An ack for a response topic."""

    reply: Reply
    ack: bytes


class Link:
    """The connection that survives. Methods may be called from any thread and do not wait for the network.

    Topics given to `publish` and `retained` are below `<prefix>/<device>/`. Commands are read from
    `<prefix>/<device>/cmd/+` and `<prefix>/all/cmd/+`; sessions are clean, so a command that was sent while we were
    away is not replayed: its sender sees no ack and sends it again, under the same id.

    Args:
        settings: `[mqtt]`.
        device: `device.id`; two devices must not share one.
        outbox: Where unacknowledged messages live; the link owns and closes it.
        ledger: Where accepted commands live; the link owns and closes it.
        on_command: Called once per accepted command, on the link's command thread; must be quick. A CommandError that
            it raises becomes a `rejected` job.
        has_room: Whether `on_command` may get one more of this kind; where not, the command is rejected as busy.
        registry: Command name → the class that declares it.
        client_id: MQTT client id; None: `edged-<device>`, so that the broker shows two daemons of one device id.
        retry: When to connect again; None: the defaults.
        trust: Whose commands are carried out; None: everybody's.
        notices: Whole topic → what is called with each payload that arrives there, on the link's thread; must be
            quick. Such messages are no commands.
        on_failure: Called once, on the link's thread, when that ends by an unforeseen exception: from then on nothing
            is sent or received, and only a new process can.

    Raises:
        ConfigError: A file or value of `[mqtt]` cannot be used.
    """

    def __init__(
        self,
        *,
        settings: MqttSettings,
        device: str,
        outbox: Outbox,
        ledger: Ledger,
        on_command: Callable[[Command[Args]], None],
        has_room: Callable[[type[Args]], bool] = lambda _: True,
        registry: Mapping[str, type[Args]] = COMMANDS,
        client_id: str | None = None,
        retry: Retry | None = None,
        trust: Trust | None = None,
        notices: Mapping[str, Callable[[bytes], None]] | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.ledger = ledger
        self.trust = trust or Trust()
        self.last_error: str | None = None
        """Why there is no connection, or what threatens it; None while all is well."""
        self.connected = False
        """Whether the broker has let us in and the connection stands."""
        self.job_observers: list[Callable[[Job], None]] = []
        """Called with each state of a job, by whoever tells it; must be quick."""
        self._brokers = deque(brokers(settings))
        self._base = f"{settings.prefix}/{device}/"
        self._notices = dict(notices or {})
        self._on_failure = on_failure
        self._subscriptions = [f"{self._base}cmd/+", f"{settings.prefix}/all/cmd/+", *self._notices]
        self._client_id = client_id or f"edged-{device}"
        self._outbox = outbox
        self._delivery = Delivery(outbox)
        self._retry = retry or Retry(device=device, brokers=len(self._brokers))
        self._lasting = {name for name, args in registry.items() if args.lasting}
        self._dispatcher = Dispatcher(
            ledger=ledger,
            registry=registry,
            publish=self.publish,
            answer=self.answer,
            check=partial(check_reply, prefix=settings.prefix, device=device),
            job=self.job,
            on_command=on_command,
            has_room=has_room,
            trust=self.trust,
        )
        self._inbox: deque[Outgoing | _Answer | Event | float] = deque()
        self._waker = Waker()
        self._counting = threading.Lock()
        self._queued = 0
        self._newest: dict[str, bytes] = {}
        self._unsent: dict[str, bytes] = {}
        self._withdrawn: dict[str, Callable[[], None]] = {}
        self._retained_inflight: dict[int, str] = {}
        self._answers: deque[_Answer] = deque()
        self._answers_inflight: dict[int, str] = {}
        self._connection: Connection | None = None
        self._served: Connection | None = None
        self._window = 0
        self._max_bytes = settings.max_bytes
        self._set_bytes = settings.max_bytes
        self._attempt_at = 0.0
        self._reminded: tuple[str, float] = ("", 0.0)
        self._stop_at: float | None = None
        self._started = self._stopped = False
        self._thread = threading.Thread(target=self._run, name="edged-mqtt", daemon=True)

    @property
    def broker(self) -> str:
        """`host:port` of the broker that has let us in, or is tried, now or next."""
        return self._broker.name

    @property
    def _broker(self) -> Broker:
        return self._brokers[0]

    @property
    def backlog(self) -> int:
        """Messages of QoS 1 that the broker has not acknowledged, in memory and on disk."""
        with self._counting:
            return self._queued + self._delivery.backlog

    @property
    def backlog_bytes(self) -> int:
        """What these take, without those that were handed over a moment ago."""
        return self._delivery.backlog_bytes

    @property
    def limit_bytes(self) -> int:
        """What they may take: beyond it the oldest are dropped."""
        return self._outbox.max_bytes

    @property
    def dropped(self) -> int:
        """How many were, or were lost to damage on the disk, since the process started."""
        return self._outbox.dropped

    @property
    def in_memory(self) -> dict[str, str]:
        """What a full disk keeps from being stored → why; it goes back to the disk by itself."""
        troubles = {"unsent messages": self._outbox.in_memory, "commands": self.ledger.trouble}
        return {what: why for what, why in troubles.items() if why is not None}

    def start(self) -> None:
        """Begin to connect, and to send what an earlier process left in the outbox; returns at once."""
        if (job := self.ledger.last_job(self._lasting)) is not None:
            self._newest.setdefault(f"{self._base}job", job)
        self._started = True
        self._dispatcher.start()
        self._thread.start()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish below `<prefix>/<device>/`; returns at once.

        Args:
            topic: E.g. `result/main`; no wildcards.
            payload: The message.
            qos: 1: kept in order, on disk if need be, until the broker acknowledges it. 0: dropped while not connected.
            retain: For the broker; see `retained` for state of which only the newest matters.

        Raises:
            ValueError: Not a topic, or another QoS.
        """
        if qos not in (0, 1):
            raise ValueError(f"qos = {qos}: 0 or 1")
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"topic = {topic!r}: not empty, without + and #")
        if qos == 1:
            with self._counting:
                self._queued += 1
        self._put((self._base + topic, payload, qos, retain, time.monotonic(), None))

    def retained(self, topic: str, payload: bytes, *, whole: bool = False) -> None:
        """Publish state, retained, QoS 1: only the newest per topic is kept, and published again on every connect.

        Args:
            topic: E.g. `info`; no wildcards.
            payload: The message.
            whole: The topic is not below `<prefix>/<device>/`, but as it is given.
        """
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"topic = {topic!r}: not empty, without + and #")
        topic = topic if whole else self._base + topic
        self._put((topic, payload, -1, True, time.monotonic(), None))

    def withdraw(self, topic: str, then: Callable[[], None], *, whole: bool = False) -> None:
        """Take retained state back, also what an earlier process left: an empty retained message.

        Args:
            topic: As in `retained`. Whatever is published there afterwards stays.
            then: Called once the broker has acknowledged it, in whichever connection, on the link's thread.
            whole: As in `retained`.
        """
        topic = topic if whole else self._base + topic
        self._put((topic, b"", -1, True, time.monotonic(), then))

    def answer(self, reply: Reply, ack: bytes) -> None:
        """Publish an ack on the response topic of a command, QoS 1; returns at once.

        Once, and only by a connection of MQTT 5 that stands: whoever misses it finds it on `ack/<id>`.

        Args:
            reply: Checked by `contract.replies`.
            ack: The same bytes as on `ack/<id>`.
        """
        self._put(_Answer(reply, ack))

    def image(self, command_id: str, data: bytes) -> None:
        """Publish a picture on `image/<id>`, as the answer to a command.

        Raises:
            CommandError: It is larger than the broker takes.
        """
        topic = f"image/{command_id}"
        if not fits(self._base + topic, data, self._max_bytes):
            raise CommandError(f"the picture has {len(data)} bytes, and the broker takes messages of {self._max_bytes}")
        self.publish(topic, data)

    def job(self, job: Job) -> None:
        """Publish the state of a job on `job/<id>`, and remember it for redeliveries.

        That of a lasting one stands, retained, on `job` too: asking for a status does not wipe out the last training.
        A report that is larger than the broker takes is left out; without it, a command that only asks has failed.
        """
        for observer in self.job_observers:
            observer(job)
        payload = job.encode()
        if not fits(f"{self._base}job/{job.id}", payload, self._max_bytes):
            error = f"the report has {len(payload)} bytes, and the broker takes messages of {self._max_bytes}"
            status = job.status if job.cmd in self._lasting else "failed"
            payload = job.model_copy(update={"report": None, "error": error, "status": status}).encode()
        try:
            self.ledger.record(job, payload)
        except sqlite3.Error as error:
            log.error("job %s: its state %r cannot be remembered: %s", job.id, job.status, error)
        self.publish(f"job/{job.id}", payload)
        if job.cmd in self._lasting:
            self.retained("job", payload)

    def stop(self, deadline_s: float) -> None:
        """Drain the outbox, publish a retained `offline`, disconnect; what is left at the deadline goes to disk.

        Without a connection there is nothing to wait for, and it all goes to disk at once. Waits about `deadline_s`
        seconds, a third of them for commands that have arrived, and at most `CLOSING_S` more for `offline` to be
        acknowledged, the end of the connection, and the disk.
        """
        if self._stopped:
            return
        self._stopped = True
        if not self._started:
            self._outbox.close()
            self.ledger.close()
            return
        end = time.monotonic() + deadline_s
        self._dispatcher.stop(deadline_s / 3)
        self._put(end)
        self._thread.join(end - time.monotonic() + CLOSING_S)
        self.ledger.close()

    def _put(self, event: Outgoing | _Answer | Event | float) -> None:
        self._inbox.append(event)
        self._waker.wake()

    def _run(self) -> None:
        try:
            self._waker.open()
            while self._stop_at is None:
                self._step()
            while self.connected and self._delivery.backlog and time.monotonic() < self._stop_at:
                self._step(self._stop_at)
            self._farewell(max(self._stop_at, time.monotonic() + FAREWELL_S))
        except Exception:  # the top of a thread: without it the daemon would be mute and not know why
            log.exception("the MQTT link has failed")
            self.connected, self.last_error = False, "the MQTT link has failed; see the log"
            self._on_failure()
        finally:
            self._keep_the_rest()
            self._delivery.lost()
            self._outbox.close()
            self._waker.close()

    def _keep_the_rest(self) -> None:
        """Take what was published while the link stopped, so that it reaches the disk."""
        while self._inbox:
            event = self._inbox.popleft()
            if isinstance(event, tuple):
                self._outgoing(event)

    def _step(self, until: float = math.inf) -> None:
        """Handle what has happened, or wait for something to happen, no longer than `until`; then send."""
        pause_s = min(self._delivery.pause_s(), max(0.0, until - time.monotonic()))
        if not self.connected:
            pause_s = min(pause_s, max(0.0, self._attempt_at - time.monotonic()))
        self._serve(pause_s)
        self._waker.clear()
        for _ in range(500):  # then a look at the clock
            if not self._inbox:
                break
            self._handle(self._inbox.popleft())
        now = time.monotonic()
        if not self.connected and now >= self._attempt_at:
            if self._connection is None:
                if self._stop_at is None:
                    self._connect(now)
            else:  # no CONNACK in time
                self._connection.close(with_will=True)
                self._attempt_at = now + HANDSHAKE_S  # closing it takes no longer than TCP's and TLS's own time-outs
        self._pump()
        if self._served is not None and self._served.has_to_write:
            self._served.turn(self._waker.wait(0.0, self._served))

    def _serve(self, pause_s: float) -> None:
        """Wait until something happens, and move what can be moved over the connection."""
        if self._inbox:
            pause_s = 0.0
        if (served := self._served) is None:
            self._waker.wait(pause_s)
        else:
            served.turn(self._waker.wait(min(pause_s, served.look_s), served))

    def _connect(self, now: float) -> None:
        self._attempt_at = now + self._retry.patience_s(self._broker.host)
        self._connection = Connection(
            broker=self._broker,
            client_id=self._client_id,
            protocol=self._retry.protocol,
            will_topic=f"{self._base}state",
            subscriptions=self._subscriptions,
            post=self._put,
            deliver=self._received,
            served=True,
        )
        self._connection.start()

    def _received(self, received: Received) -> None:
        """Pass on what has arrived."""
        if (notice := self._notices.get(received.topic)) is not None:
            notice(received.payload)
        else:
            self._dispatcher.deliver(received)

    def _send(self, topic: str, payload: bytes, retain: bool) -> int | None:
        return None if self._connection is None else self._connection.publish(topic, payload, qos=1, retain=retain)

    def _handle(self, event: Outgoing | _Answer | Event | float) -> None:
        if isinstance(event, tuple):
            self._outgoing(event)
        elif isinstance(event, _Answer):
            if self.connected and len(self._answers) < WAITING_ANSWERS:
                self._answers.append(event)
        elif isinstance(event, float):
            self._stop_at = event
        elif event.connection is not self._connection:
            pass  # of a connection that is already given up
        elif isinstance(event, Acknowledged):
            self._acknowledged(event)
        elif isinstance(event, Reached):
            self._reached()
        elif isinstance(event, Opened):
            self._opened(event)
        else:
            self._closed(event)

    def _acknowledged(self, event: Acknowledged) -> None:
        if self._delivery.acknowledged(event.mid, event.error):
            return
        if (topic := self._retained_inflight.pop(event.mid, None)) is not None:
            self._retained_acknowledged(topic, event)
        topic = self._answers_inflight.pop(event.mid, None)
        if topic is not None and event.error is not None:
            log.warning("broker refused an ack on response topic %s (%s)", topic, event.error)

    def _retained_acknowledged(self, topic: str, event: Acknowledged) -> None:
        """Go on; where it was state that is taken back, and nothing newer follows, it is done with."""
        if event.error is not None:
            return
        if topic in self._withdrawn and topic not in self._unsent and topic not in self._retained_inflight.values():
            del self._newest[topic]
            self._withdrawn.pop(topic)()

    def _outgoing(self, message: Outgoing) -> None:
        topic, payload, qos, retain, taken_at, then = message
        if qos == 1:
            with self._counting:  # whoever asks for the backlog meanwhile is told of it once, and not of none
                self._delivery.add(topic, payload, retain, taken_at)
                self._queued -= 1
        elif qos == 0:
            if self.connected and self._connection is not None:
                self._connection.publish(topic, payload, qos=0, retain=retain)
        else:
            self._newest[topic] = self._unsent[topic] = payload
            self._withdrawn.pop(topic, None)
            if then is not None:
                self._withdrawn[topic] = then

    @property
    def _inflight(self) -> int:
        return len(self._retained_inflight) + len(self._answers_inflight) + self._delivery.inflight

    def _pump(self) -> None:
        """Send what the window allows: retained state first, then acks for response topics."""
        while self.connected and self._unsent and self._inflight < self._window:
            topic, payload = next(iter(self._unsent.items()))
            if not fits(topic, payload, self._max_bytes):
                log.error("%s: %d bytes are more than the broker takes; it is not told", topic, len(payload))
                del self._unsent[topic]
                continue
            if (mid := self._send(topic, payload, True)) is None:
                break
            del self._unsent[topic]
            self._retained_inflight[mid] = topic
        while self.connected and self._answers and self._inflight < self._window and self._connection is not None:
            answer = self._answers.popleft()
            if (mid := self._connection.answer(answer.reply, answer.ack)) is not None:
                self._answers_inflight[mid] = answer.reply.topic
        room = self._window - len(self._retained_inflight) - len(self._answers_inflight)
        self._delivery.pump(self._send if self.connected else None, room, self._max_bytes)

    def _reached(self) -> None:
        """Serve the connection from now on; the broker's time to let us in begins when it is asked."""
        self._served = self._connection
        self._attempt_at = max(self._attempt_at, time.monotonic() + self._retry.patience_s(self._broker.host))
        if self._served is not None:
            self._served.turn(select.POLLOUT)

    def _opened(self, event: Opened) -> None:
        self.connected = True
        self._window = event.window
        told = [most for most in (self._set_bytes, event.max_bytes) if most is not None]
        self._max_bytes = min(told, default=None)
        self._retry.opened(time.monotonic())
        self.last_error = self._retry.warning
        self._reminded = ("", 0.0)
        log.info(
            "connected to broker %s, MQTT %s; %d messages to send",
            self._broker.name,
            event.connection.protocol,
            self.backlog,
        )
        self._unsent = {f"{self._base}state": ONLINE.encode(), **self._newest}

    def _closed(self, event: Closed) -> None:
        now = time.monotonic()
        self.connected = False
        self._connection = self._served = None
        self._retained_inflight.clear()
        self._answers.clear()
        self._answers_inflight.clear()
        self._delivery.lost()
        delay_s, self.last_error = self._retry.closed(now, event)
        if delay_s > 0:  # else it is the same one that is asked in the other version of MQTT
            self._brokers.rotate(-1)
        self._attempt_at = now + delay_s
        text, at = self._reminded
        if delay_s == 0:
            log.info("%s; trying MQTT %s", self.last_error, self._retry.protocol)
        elif text != self.last_error or now - at > REMIND_S:
            self._reminded = (self.last_error, now)
            log.warning("%s; next attempt in %.1f s", self.last_error, delay_s)
        else:
            log.debug("%s; next attempt in %.1f s", self.last_error, delay_s)

    def _farewell(self, deadline: float) -> None:
        """Say `offline`, see it acknowledged, disconnect; where that fails the broker's Last Will says it."""
        connection = self._connection
        if connection is None:
            return
        if self.connected:
            self._unsent[f"{self._base}state"] = OFFLINE.encode()
            self._pump()
            while self.connected and (self._unsent or self._retained_inflight) and time.monotonic() < deadline:
                self._step(deadline)
        connection.close(with_will=bool(self._unsent or self._retained_inflight))
        connection.join(FAREWELL_S)
        self.connected = False
