"""One attempt to log in at each broker, for `edged doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.mqtt.broker import brokers
from edged.mqtt.session import open_session

if TYPE_CHECKING:
    from edged.settings import MqttSettings


@dataclass(frozen=True, slots=True)
class Login:
    """What came of it: `error` None means that the broker let us in."""

    broker: str
    protocol: str
    ms: float
    error: str | None


def try_logins(settings: MqttSettings, device: str, timeout_s: float = 5.0) -> list[Login]:
    """Connect to each broker under a client id of its own (a running daemon is not disturbed) and disconnect.

    Args:
        settings: `[mqtt]`.
        device: For the topic that the unused Last Will names.
        timeout_s: For each protocol version.

    Raises:
        ConfigError: A file or value of `[mqtt]` cannot be used.
    """
    will_topic = f"{settings.prefix}/{device}/doctor"
    logins = []
    for broker in brokers(settings):
        session = open_session([broker], purpose="doctor", will_topic=will_topic, timeout_s=timeout_s)
        session.close()
        logins.append(Login(broker.name, session.connection.protocol, session.ms, session.error))
    return logins
