"""A workstation's end of the wire contract: subscriptions, commands with their acks, jobs and images."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from edged.contract.commands import COMMANDS, CommandMessage
from edged.contract.messages import FINAL, Ack, Job, timestamp
from edged.ctl.connect import establish, hang_up
from edged.ctl.errors import AccessRefusedError, NoAnswerError, RejectedError, UnreachableError
from edged.ctl.signer import Signer
from edged.ctl.subscription import Incoming, Subscription
from edged.mqtt.broker import Broker
from edged.mqtt.properties import of_command

_EXPIRY_MARGIN_S = 30.0  # clocks of a device and a workstation differ
_COMMAND = re.compile(r"([^/]+)/cmd/([^/]+)")
_REFUSED = 0x80  # reason codes of SUBACK from here on are failures
_HEADER_BYTES = 128  # more than a packet has beside prefix, topic and payload
_AGAIN_S = 1.0
"""A command without an ack is sent again after so long, then after twice as long, and so on."""
_AGAIN_BYTES = 16 * 1024
"""A larger one is not: it may still be on its way."""
_FILTERS_AT_ONCE = 8  # in one SUBSCRIBE: AWS IoT Core takes no more


class Client:
    """An open connection to the broker, seen from below the topic prefix.

    Args:
        brokers: Addresses, login and, in their settings, the topic prefix; one of them is enough.
        timeout_s: How long to wait for the broker and for a device's answer.
        signer: Signs each command; None: they are sent unsigned.
    """

    def __init__(self, brokers: Sequence[Broker], *, timeout_s: float = 10.0, signer: Signer | None = None) -> None:
        self.url = ", ".join(broker.url for broker in brokers)
        self.prefix = brokers[0].settings.prefix
        self._brokers = brokers
        self._set_bytes = brokers[0].settings.max_bytes
        self._signer = signer
        self.timeout_s = timeout_s
        self._mqtt: paho.Client | None = None
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._granted: dict[int, bool] = {}
        self._denied: set[int] = set()
        self._suback = threading.Condition()
        self._calls: dict[str, tuple[Subscription, Subscription]] = {}

    def __enter__(self) -> Client:
        """Connect.

        Raises:
            ConfigError, AccessRefusedError, UnreachableError: See `connect.establish`.
        """
        mqtt = establish(self._brokers, timeout_s=self.timeout_s)
        mqtt.on_message = self._on_message
        mqtt.on_subscribe = self._on_subscribe
        mqtt.on_connect = self._on_connect
        mqtt.on_publish = self._on_publish
        self._mqtt = mqtt
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        mqtt, self._mqtt = self._paho, None
        hang_up(mqtt)

    @property
    def connected(self) -> bool:
        """Whether the broker is there now; paho reconnects by itself."""
        return self._paho.is_connected()

    def subscribe(self, *filters: str, qos: int = 1) -> Subscription:
        """Subscribe and wait until the broker has confirmed it.

        Args:
            filters: Topic filters below the prefix, e.g. "+/result/+".
            qos: 0 for what very many devices have said, or say at the same moment: of QoS 1 Mosquitto keeps a thousand
                messages for a client that has not acknowledged, and drops what is beyond.

        Raises:
            AccessRefusedError: The broker forbids it.
            UnreachableError: The broker did not confirm in time.
        """
        subscription = Subscription(filters, self.unsubscribe, qos)
        with self._lock:
            self._subscriptions.append(subscription)
        for some in self._packets([(name, qos) for name in filters]):
            result, mid = self._paho.subscribe(some)
            if mid is None or result != paho.MQTT_ERR_SUCCESS:
                raise UnreachableError(f"connection to {self.url} lost")
            self._confirmed(mid)
        return subscription

    def _packets(self, filters: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
        """Yield what to subscribe to, no more in one packet than any broker takes."""
        for begin in range(0, len(filters), _FILTERS_AT_ONCE):
            yield [(f"{self.prefix}/{name}", qos) for name, qos in filters[begin : begin + _FILTERS_AT_ONCE]]

    def _confirmed(self, mid: int) -> None:
        """Wait until the broker has confirmed a subscription."""
        with self._suback:
            if not self._suback.wait_for(lambda: mid in self._granted, self.timeout_s):
                raise UnreachableError(f"{self.url} did not confirm a subscription within {self.timeout_s:g} s")
            if not self._granted.pop(mid):
                raise AccessRefusedError(f"{self.url} does not let this user read {self.prefix}/#")

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop a subscription; filters that another one uses stay."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            used = {name for other in self._subscriptions for name in other.filters}
        if unused := [f"{self.prefix}/{name}" for name in subscription.filters if name not in used]:
            self._paho.unsubscribe(unused)

    @property
    def max_bytes(self) -> int | None:
        """The largest packet that the broker takes, by its own word or the user's; None where neither says."""
        told: int | None = self._paho.user_data_get()
        return min((most for most in (told, self._set_bytes) if most is not None), default=None)

    def send(
        self, topic: str, payload: bytes, *, expires_s: float | None = None, retain: bool = False
    ) -> paho.MQTTMessageInfo:
        """Publish below the prefix, QoS 1; returns at once. A command is signed here, whoever sends it.

        Returns:
            What tells whether the broker has it. paho sends it again after a reconnect until then.

        Raises:
            ConfigError: The key that commands are signed with cannot be used.
            RejectedError: It is larger than the broker takes.
        """
        if self._signer is not None and (command := _COMMAND.fullmatch(topic)) is not None:
            payload = self._signer.command(command[1], command[2], payload)
        if (most := self.max_bytes) is not None and len(topic) + len(payload) + _HEADER_BYTES > most:
            raise RejectedError(f"{topic}: {len(payload)} bytes, and {self.url} takes messages of {most}")
        speaks_5 = self._paho.protocol == MQTTProtocolVersion.MQTTv5
        told = of_command(expires_s) if speaks_5 and _COMMAND.fullmatch(topic) else None
        info = self._paho.publish(f"{self.prefix}/{topic}", payload, qos=1, retain=retain, properties=told)
        if info.rc == paho.MQTT_ERR_NO_CONN:
            # paho keeps the message and sends it after the reconnect, yet its `is_published` would raise for ever.
            info.rc = paho.MQTT_ERR_SUCCESS
        return info

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        expires_s: float | None = None,
        retain: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """As `send`, and wait for the broker's PUBACK, for the client's timeout where none is given.

        Raises:
            UnreachableError: The broker did not take it in time.
            AccessRefusedError: It forbids it, and says so: MQTT 3.1.1 has no way to.
        """
        info = self.send(topic, payload, expires_s=expires_s, retain=retain)
        patience_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            info.wait_for_publish(patience_s)
            taken = info.is_published()
        except (RuntimeError, ValueError):  # paho could neither send nor keep it
            taken = False
        if not taken:
            raise UnreachableError(f"{self.url} did not take the message within {patience_s:g} s")
        if info.mid in self._denied:
            raise AccessRefusedError(f"{self.url} does not let this user publish {self.prefix}/{topic}")

    def command(
        self, device: str, name: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Ack:
        """Send a command and wait until the device has accepted it.

        A device that is flooded has no room for some commands, and answers `busy`, or nothing at all: until the time is
        over, the same command is sent again, with the same id, so that it runs once at most.

        Its answers are subscribed before it is sent: `jobs(ack.id)` and `image(ack.id)` miss nothing.

        Args:
            device: One device's id.
            name: The command, e.g. "snapshot".
            args: Its arguments; those that are None are left out.
            timeout_s: How long to wait for the ack; None: the client's. The command itself expires a little later.

        Raises:
            RejectedError: The device refuses it, or the broker says that it does; the text tells the reason.
            NoAnswerError: No ack in time.
            UnreachableError: Nor could there be one, since the broker is away.
        """
        patience_s = self.timeout_s if timeout_s is None else timeout_s
        command_id = uuid4().hex
        given = {key: value for key, value in (args or {}).items() if value is not None}
        expires_s = patience_s + _EXPIRY_MARGIN_S
        topics = [f"{device}/{kind}/{command_id}" for kind in ("ack", "job")]
        if name in COMMANDS and COMMANDS[name].lasting:
            # Retained: its end is told again after a loss of the connection, ours or the device's.
            topics.append(f"{device}/job")
        answers = self.subscribe(*topics)
        images = self.subscribe(f"{device}/image/{command_id}")
        self._calls[command_id] = (answers, images)
        payload = command_json(command_id, given, expires_s)
        try:
            self.publish(f"{device}/cmd/{name}", payload, expires_s=expires_s, timeout_s=patience_s)
        except AccessRefusedError as error:  # this device's alone, perhaps: others are still asked
            self.forget(command_id)
            raise RejectedError(str(error)) from error
        end = time.monotonic() + patience_s
        pause_s = _AGAIN_S
        again = time.monotonic() + pause_s if len(payload) <= _AGAIN_BYTES else end
        busy: Ack | None = None
        while (now := time.monotonic()) < end:
            message = answers.get(min(end, again) - now)
            if message is None:
                if time.monotonic() >= end:
                    break
                self.send(f"{device}/cmd/{name}", payload, expires_s=expires_s)
                pause_s *= 2
                again = time.monotonic() + pause_s
            elif message.levels[0] == "job":
                job = message.decode(Job)
                if job is not None and job.id == command_id:
                    answers.arrived.put(message)  # overtook its ack; `jobs` reads it again
                    return Ack(id=command_id, status="accepted")
            elif (ack := message.decode(Ack)) is not None:
                if ack.busy:
                    busy = ack
                    again = time.monotonic() + random.uniform(0.1, _AGAIN_S)  # others are told the same
                    continue
                if ack.status == "rejected":
                    self.forget(command_id)
                    raise RejectedError(f"{device} refuses {name}: {ack.error or 'it gives no reason'}")
                return ack
        self.forget(command_id)
        if busy is not None:
            raise RejectedError(f"{device} refuses {name}: {busy.error}")
        raise self._silence(f"{device} did not answer {name} within {patience_s:g} s")

    def jobs(
        self,
        command_id: str,
        *,
        device: str | None = None,
        silence_s: float | None = None,
        is_there: Callable[[], bool] = lambda: False,
    ) -> Iterator[Job]:
        """Yield a job's states until a final one (`FINAL`), which is the last.

        Args:
            command_id: The id in the ack.
            device: Needed only to follow a job that this client did not start.
            silence_s: How long the device may say nothing; None: the client's timeout.
            is_there: Asked when it has said nothing of the job for so long: whether to go on waiting.

        Raises:
            NoAnswerError: It said nothing for so long.
            UnreachableError: Nor could it, since the broker is away.
        """
        patience_s = self.timeout_s if silence_s is None else silence_s
        # The retained `job` may be ahead of `job/<id>`, or behind; only who comes later needs it to begin with.
        begun = command_id in self._calls
        if not begun:
            if device is None:
                raise ValueError("the device of a job that this client did not start must be named")
            # The retained `job` tells at once about the current or last one.
            answers = self.subscribe(f"{device}/job/{command_id}", f"{device}/job")
            self._calls[command_id] = (answers, self.subscribe(f"{device}/image/{command_id}"))
        answers = self._calls[command_id][0]
        while (message := answers.get(patience_s)) or is_there():
            job = message.decode(Job) if message is not None and message.levels[0] == "job" else None
            if message is None or job is None or job.id != command_id:
                continue
            if job.status in FINAL:
                yield job
                return
            if len(message.levels) > 1 or not begun:
                begun = True
                yield job
        raise self._silence(f"nothing heard of job {command_id} for {patience_s:g} s")

    def image(self, command_id: str, *, timeout_s: float | None = None) -> bytes:
        """Return the bytes on `image/<id>` of a command that this client sent.

        Raises:
            NoAnswerError: None came in time.
        """
        patience_s = self.timeout_s if timeout_s is None else timeout_s
        message = self._calls[command_id][1].get(patience_s)
        if message is None:
            raise NoAnswerError(f"no image came within {patience_s:g} s")
        return message.payload

    def forget(self, command_id: str) -> None:
        """Stop listening for a command's answers."""
        for subscription in self._calls.pop(command_id, ()):
            subscription.close()

    def _silence(self, told: str) -> NoAnswerError | UnreachableError:
        """Return the error of a device that said nothing: where the broker is away, that is why."""
        return NoAnswerError(told) if self.connected else UnreachableError(f"connection to {self.url} lost: {told}")

    @property
    def _paho(self) -> paho.Client:
        if self._mqtt is None:
            raise RuntimeError("the client is used outside its `with` block")
        return self._mqtt

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic.removeprefix(f"{self.prefix}/")
        except UnicodeDecodeError:  # an exception here would end paho's thread
            return
        device, *below = levels = topic.split("/")
        incoming = Incoming(device, tuple(below), bytes(message.payload), message.retain, time.monotonic())
        with self._lock:
            takers = [one for one in self._subscriptions if one.takes(levels)]
        for subscription in takers:
            subscription.arrived.put(incoming)

    def _on_subscribe(self, _client: paho.Client, _data: object, mid: int, codes: list[Any], _properties: Any) -> None:
        with self._suback:
            self._granted[mid] = all(code.value < _REFUSED for code in codes)
            self._suback.notify_all()

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, reason: Any, _properties: Any) -> None:
        """Called before paho tells that the message is published."""
        (self._denied.add if reason.is_failure else self._denied.discard)(mid)

    def _on_connect(self, client: paho.Client, _data: object, _flags: Any, reason: Any, _properties: Any) -> None:
        """After a reconnect the broker knows nothing of the clean session before it."""
        with self._lock:
            filters = [(name, one.qos) for one in self._subscriptions for name in one.filters]
        for some in () if reason.is_failure else self._packets(filters):
            client.subscribe(some)


def command_json(command_id: str, args: Mapping[str, Any], expires_s: float) -> bytes:
    """Return a command as the contract wants it: `ts` now and `expires` so many seconds later.

    Raises:
        pydantic.ValidationError: The id is none that the contract allows.
    """
    sent = time.time()
    message = CommandMessage.model_validate(
        {"id": command_id, "ts": timestamp(sent), "expires": timestamp(sent + expires_s), "args": dict(args)}
    )
    return message.model_dump_json(exclude={"signature"}).encode()  # `Client.send` signs it
