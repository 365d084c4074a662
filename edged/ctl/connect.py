"""From a broker's address to an open MQTT connection, or one line that says why not."""

from __future__ import annotations

import itertools
import queue
import ssl
from collections.abc import Sequence
from uuid import uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edged.ctl.errors import AccessRefusedError, UnreachableError
from edged.mqtt.broker import Broker
from edged.mqtt.events import Version
from edged.mqtt.session import first_answer
from edged.mqtt.sockets import send_at_once

KEEPALIVE_S = 30
_CONNACK_V5_S = 3.0  # a broker that knows only 3.1.1 may also say nothing at all
_LOGIN_REASONS = {"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"}


def establish(brokers: Sequence[Broker], *, timeout_s: float) -> paho.Client:
    """Connect, by MQTT 5 or else 3.1.1, and start paho's network thread, which from then on reconnects by itself.

    Args:
        brokers: Addresses and login: tried in turn, now and whenever the connection is lost.
        timeout_s: For each of: the TCP connection, the broker's answer.

    Raises:
        ConfigError: The password file cannot be read any more.
        AccessRefusedError: The broker refuses the login, or either side the other's certificate.
        UnreachableError: Nobody answers, or not as an MQTT broker.
    """
    unreachable: list[str] = []
    refused: AccessRefusedError | None = None
    for turn, broker in enumerate(brokers):
        try:
            client = _establish(broker, timeout_s)
        except AccessRefusedError as error:
            refused = refused or error
            continue
        except UnreachableError as error:
            unreachable.append(str(error))
            continue
        _turn_to_the_next(client, [*brokers[turn:], *brokers[:turn]])
        return client
    if refused is not None:  # that another address is dead as well is no reason to look there for the mistake
        raise refused
    raise UnreachableError("; ".join(unreachable))


def hang_up(client: paho.Client) -> None:
    """End a connection and its thread. Where that has not come to closing the socket, it does not stay open."""
    client.disconnect()
    client.loop_stop()
    if (left := client.socket()) is not None:
        left.close()


def _turn_to_the_next(client: paho.Client, brokers: Sequence[Broker]) -> None:
    """Have paho, which connects again by itself, do so to the next broker that can be reached in the same way."""
    alike = [one for one in brokers if (one.tls, one.path) == (brokers[0].tls, brokers[0].path)]
    turns = itertools.cycle([*alike[1:], alike[0]])

    def next_one(*_: object) -> None:
        broker = next(turns)
        client.connect_async(broker.address(), broker.port, keepalive=KEEPALIVE_S)  # from now on; connects to nothing

    client.on_disconnect = next_one if len(alike) > 1 else None
    client.on_connect_fail = next_one if len(alike) > 1 else None


def _establish(broker: Broker, timeout_s: float) -> paho.Client:
    def attempt(protocol: Version) -> tuple[paho.Client, ReasonCode | None]:
        client = _configure(broker, protocol, timeout_s)
        reason = _dial(client, broker, min(timeout_s, _CONNACK_V5_S) if protocol == "5" else timeout_s)
        if reason is None or reason.is_failure:
            hang_up(client)
        return client, reason

    def may_speak_other(answer: tuple[paho.Client, ReasonCode | None]) -> bool:
        return answer[1] is None or answer[1].getName() == "Unsupported protocol version"

    client, reason = first_answer(attempt, may_speak_other)
    if reason is not None and not reason.is_failure:
        return client
    if reason is None:
        hint = "" if broker.tls else " (mqtts:// is for TLS)"
        raise UnreachableError(f"{broker.url} does not answer as an MQTT broker{hint}")
    if reason.getName() in _LOGIN_REASONS:
        who = f"user {broker.settings.username!r}" if broker.settings.username else "a login without a user"
        raise AccessRefusedError(f"{broker.url} refuses {who}: {reason.getName()} (--username, --password-file)")
    raise UnreachableError(f"{broker.url} refuses the connection: {reason.getName()}")


def _configure(broker: Broker, protocol: Version, timeout_s: float) -> paho.Client:
    version = MQTTProtocolVersion.MQTTv5 if protocol == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"edgectl-{uuid4().hex[:12]}",
        protocol=version,
        transport="tcp" if broker.path is None else "websockets",
    )
    if broker.path is not None:
        client.ws_set_options(broker.path)
    client.connect_timeout = timeout_s
    client.on_socket_open = send_at_once
    client.reconnect_delay_set(min_delay=1, max_delay=10)
    if broker.settings.username is not None:
        client.username_pw_set(broker.settings.username, broker.password())
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    return client


def _dial(client: paho.Client, broker: Broker, patience_s: float) -> ReasonCode | None:
    """Return the broker's answer to CONNECT; None where it gave none."""
    answers: queue.Queue[ReasonCode | None] = queue.Queue()  # no SimpleQueue: see `Subscription`

    def on_connect(_client: paho.Client, _data: object, _flags: object, reason: ReasonCode, properties: object) -> None:
        client.user_data_set(getattr(properties, "MaximumPacketSize", None))
        answers.put(reason)

    client.on_connect = on_connect
    client.on_disconnect = lambda *_: answers.put(None)
    try:
        client.connect(broker.address(), broker.port, keepalive=KEEPALIVE_S)
    except ssl.SSLError as error:
        hint = (
            "--ca-file names its authority" if isinstance(error, ssl.SSLCertVerificationError) else "is it a TLS port?"
        )
        raise AccessRefusedError(f"{broker.url}: TLS fails: {_why(error)} ({hint})") from error
    except (OSError, ValueError, UnicodeError) as error:  # ValueError and UnicodeError: a host name that cannot be one
        reset = broker.tls is not None and isinstance(error, ConnectionResetError)
        hint = "is it a TLS port?" if reset else "--broker or $EDGECTL_BROKER names another"
        raise UnreachableError(f"cannot reach {broker.url}: {_why(error)} ({hint})") from error
    client.loop_start()
    try:
        return answers.get(timeout=patience_s)
    except queue.Empty:
        return None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted, {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__
