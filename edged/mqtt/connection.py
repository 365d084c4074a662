"""One connection to the broker, from the first packet to the last: the only file that knows paho.

Every attempt is a new paho client: what is unacknowledged is the outbox's business, so paho has nothing to resend,
and the protocol version may differ from attempt to attempt.
"""

from __future__ import annotations

import logging
import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edged.contract.channels import OFFLINE
from edged.contract.replies import Reply
from edged.errors import ConfigError
from edged.mqtt import properties
from edged.mqtt.broker import Broker
from edged.mqtt.events import TAKEN_OVER, Acknowledged, Closed, Event, How, Opened, Reached, Received, Version
from edged.mqtt.sockets import hang_up, send_at_once
from edged.mqtt.waker import Waker

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
LOOK_S = 3
"""How often a quiet connection looks whether a ping is due, at most; a broker gives up after 1.5 times the above."""
WINDOW = 100
"""Publishes in flight at most; the broker may ask for fewer (MQTT 5 Receive Maximum)."""
MAX_INCOMING_BYTES = 16 * 2**20
"""An MQTT 5 broker is told not to send us more in one packet."""


class Connection:
    """One attempt to connect, and the connection if it succeeds. All methods but `join` return at once.

    It connects in a thread of its own, which may take long. What follows is done there too, or by whoever takes the
    event `Reached` and then calls `turn` whenever the stream is ready: that one alone may then use the connection.

    Args:
        broker: Where, and with which login.
        client_id: The MQTT client id.
        protocol: Which version to speak.
        will_topic: Gets a retained `offline` from the broker when we vanish.
        subscriptions: Topic filters, subscribed with QoS 1 once open.
        post: Takes events, on the thread that serves it; must not block.
        deliver: Takes received messages, on the thread that serves it; must not block.
        served: Whether the owner calls `turn`, once `Reached` was posted.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        client_id: str,
        protocol: Version,
        will_topic: str,
        subscriptions: list[str],
        post: Callable[[Event], None],
        deliver: Callable[[Received], None],
        served: bool = False,
    ) -> None:
        self.protocol: Version = protocol
        self.over = False
        """Whether `Closed` was posted."""
        self._broker = broker
        self._subscriptions = subscriptions
        self._post = post
        self._deliver = deliver
        self._asked: dict[int | None, str] = {}
        self._end: Closed | None = None
        self._opened = False
        self._closing = False
        self._served = served
        self._reads = 0
        self._unconfirmed: set[int] = set()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTv5 if protocol == "5" else MQTTv311,
            clean_session=None if protocol == "5" else True,
            reconnect_on_failure=False,
            transport="tcp" if broker.path is None else "websockets",
        )
        client.max_inflight_messages_set(0)  # the link keeps the window
        client.max_queued_messages_set(0)
        will = properties.of_will() if protocol == "5" else None
        client.will_set(will_topic, OFFLINE.encode(), qos=1, retain=True, properties=will)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        if broker.path is not None:
            client.ws_set_options(broker.path)
        client.on_socket_open = send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # We are the event loop (see `turn`): without this, paho would write in the publishing thread.
        client.on_socket_register_write = lambda *_: None
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="edged-mqtt-net", daemon=True)

    def start(self) -> None:
        """Connect, in a thread of its own."""
        self._thread.start()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int | None:
        """Hand a message to the thread that serves the connection; in MQTT 5 its content type goes with it.

        Returns:
            The packet id that `Acknowledged` will name, or None where the connection is no longer there.

        Raises:
            ValueError: The topic or payload cannot be sent by MQTT.
        """
        told = properties.of_message(topic, payload, retain=retain) if self.protocol == "5" else None
        return self._publish(topic, payload, qos, retain, told)

    def answer(self, reply: Reply, ack: bytes) -> int | None:
        """As `publish`, of an ack on the response topic of a command, QoS 1; None, too, where MQTT 3.1.1 is spoken."""
        if self.protocol != "5":
            return None
        return self._publish(reply.topic, ack, 1, False, properties.of_ack(reply.correlation))

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, told: Properties | None) -> int | None:
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=told)
        if qos == 0 and self._served:
            self._unconfirmed.add(info.mid)
        self._waker.wake()
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def close(self, *, with_will: bool = False) -> None:
        """Disconnect cleanly; `with_will`: just vanish, so that the broker publishes the Last Will."""
        self._closing = True
        if not with_will:
            self._client.disconnect()
            self._waker.wake()
        elif (stream := self._client.socket()) is not None:
            hang_up(stream)

    def join(self, timeout_s: float) -> None:
        """Wait until the connection is over, or the time is."""
        end = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        while not self.over and not self._thread.is_alive() and (left_s := end - time.monotonic()) > 0:
            self.turn(self._waker.wait(min(left_s, self.look_s), self))
        if self._served and not self._thread.is_alive():
            self._finish()

    @property
    def number(self) -> int:
        """Of the file that is waited for; −1: there is none, or no more."""
        stream = self._client.socket()
        return -1 if stream is None else stream.fileno()

    @property
    def buffered(self) -> bool:
        """Whether TLS or WebSocket has received something that `poll` does not see any more."""
        pending: Callable[[], int] = getattr(self._client.socket(), "pending", lambda: 0)
        return pending() > 0

    @property
    def has_to_write(self) -> bool:
        """Whether something waits to be sent."""
        return self._client.want_write()

    @property
    def look_s(self) -> float:
        """How soon to call `turn` although nothing happens; a broker of MQTT 5 may want pings more often than we do."""
        return min(LOOK_S, self._client.keepalive / 4 or LOOK_S)

    def turn(self, events: int) -> None:
        """Read what has come, else write what can be; ping where it is time. Raises nothing.

        Reading goes first: a write to a broker that has hung up would hide the reason that it has sent.

        Args:
            events: What `poll` said of the stream.
        """
        try:
            self._turn(events)
        except Exception as error:  # noqa: BLE001 # paho raises what it likes on malformed packets; `_failed` tells it
            self._failed(error)
            self._finish()
        if self._client.socket() is None:
            self._finish()

    def _run(self) -> None:
        try:
            self._connect()
            if self._closing:
                self._finish()
            elif self._served:
                self._post(Reached(self))
            else:
                self._waker.open()
                while not self.over:
                    self.turn(self._waker.wait(self.look_s, self))
        except Exception as error:  # noqa: BLE001 # the top of a thread; `_failed` tells it
            self._failed(error)
            self._finish()
        finally:
            self._waker.close()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ConfigError):
            self._fail("unreachable", str(error))
        elif isinstance(error, ssl.SSLCertVerificationError):
            self._fail(
                "unreachable", f"the broker's certificate is not trusted ({error.verify_message}); see mqtt.ca_file"
            )
        elif isinstance(error, ssl.SSLError):
            self._fail("unreachable", f"TLS failed ({error.reason or error}); is it an mqtts:// port?")
        elif isinstance(error, OSError):
            self._fail("unreachable", error.strerror or str(error) or type(error).__name__)
        else:  # paho raises what it likes on malformed packets
            log.debug("serving a connection", exc_info=True)
            self._fail("lost" if self._opened else "dropped", f"{type(error).__name__}: {error}")

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            if (stream := self._client.socket()) is not None:  # paho closes it only where it has ended it
                stream.close()
            self._post(self._end or Closed(self, "lost" if self._opened else "dropped", "connection closed", 0))

    def _connect(self) -> None:
        if self._broker.settings.username is not None:
            self._client.username_pw_set(self._broker.settings.username, self._broker.password())
        if self.protocol == "5":
            told = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho annotates only in part
            told.MaximumPacketSize = MAX_INCOMING_BYTES
            self._client.connect(
                self._broker.address(), self._broker.port, KEEPALIVE_S, clean_start=True, properties=told
            )
        else:
            self._client.connect(self._broker.address(), self._broker.port, KEEPALIVE_S)

    def _turn(self, events: int) -> None:
        # paho's own loop would sleep up to a second on a publish.
        client = self._client
        if events & ~select.POLLOUT and self._reads < WINDOW:  # an error or a hang-up is found by reading
            client.loop_read()
            self._reads += 1
        else:
            self._reads = 0
            if events & select.POLLOUT:
                client.loop_write()
        client.loop_misc()

    def _fail(self, how: How, error: str, code: int = 0) -> None:
        if self._end is None:  # the first reason is the true one
            self._end = Closed(self, how, f"broker {self._broker.name}: {error}", code)

    # paho's callbacks, on the thread that serves it: they only pass on.

    def _on_connect(
        self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode, told: Properties | None
    ) -> None:
        if reason.is_failure:
            self._fail("refused", self._refusal(reason), reason.value)
            return
        if self._closing:  # nobody waits for this connection any more
            client.disconnect()
            return
        self._opened = True
        granted: dict[str, Any] = {}
        if told is not None:
            granted = told.json()  # type: ignore[no-untyped-call]  # paho annotates only in part
        window = min(WINDOW, int(granted.get("ReceiveMaximum", WINDOW)))
        for topic in self._subscriptions:
            if self.protocol == "5":  # see the retain flag of a live message too, to refuse it
                _, mid = client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
            else:
                _, mid = client.subscribe(topic, qos=1)
            self._asked[mid] = topic
        self._post(Opened(self, window, granted.get("MaximumPacketSize")))

    def _refusal(self, reason: ReasonCode) -> str:
        user = self._broker.settings.username
        if reason.value in (0x86, 0x87, 0x8C):
            login = f"user {user!r}" if user is not None else "a login without a user"
            return f"refused {login} ({reason}); check mqtt.username and mqtt.password_file"
        return f"refused the connection ({reason})"

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server and reason.value == TAKEN_OVER:
            self._fail("taken over", "another client connected with our client id", reason.value)
        elif self._opened:
            self._fail("lost", f"connection lost ({reason})", reason.value)
        else:
            hint = "; does it want a client certificate (mqtt.cert_file)?" if self._broker.tls is not None else ""
            self._fail("dropped", f"closed the connection without an answer{hint}")

    def _on_publish(self, _: Client, __: Any, mid: int, reason: ReasonCode, ___: Properties) -> None:
        if mid in self._unconfirmed:  # of QoS 0: paho tells that it was written
            self._unconfirmed.remove(mid)
            return
        self._post(Acknowledged(self, mid, str(reason) if reason.is_failure else None))

    def _on_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ___: Properties | None) -> None:
        for reason in reasons:
            if reason.is_failure:
                topic = self._asked.get(mid, "a topic")
                log.error("broker %s: refused our subscription to %s (%s)", self._broker.name, topic, reason)

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        topic = getattr(message.properties, "ResponseTopic", None)  # never in MQTT 3.1.1
        reply = None if topic is None else Reply(topic, getattr(message.properties, "CorrelationData", None))
        self._deliver(Received(message.topic, bytes(message.payload), message.retain, reply))
