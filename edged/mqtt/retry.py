"""When to connect again, and with which protocol: pure; the clock and the dice are arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from edged.mqtt.events import UNSUPPORTED_PROTOCOL, Closed, Version

HANDSHAKE_S = 15.0
OTHERS_S = 5.0
"""How long an attempt may take where there are other brokers to try."""
FIRST_S = 3.0
FIRST_LOCAL_S = 0.5
QUICK_S = 5.0
"""A connection shorter than this is no reason to begin anew with short delays."""
QUICK_LIMIT = 3
"""After so many short connections in a row, the error names a rival as what may be behind it: in MQTT 3.1.1 a broker
cannot say why it hangs up, and in MQTT 5 not each does (Mosquitto 2.0.11 does not). Nothing else follows: it may be a
broker that comes and goes."""
RECENT_S = 60.0
"""A broker that let us in no longer ago than this…"""
RECENT_LONGEST_S = 4.0
"""…is tried again at least this often: it restarts, and will be back soon."""
STABLE_S = 300.0
"""A connection that held this long ends the fear of a rival."""


class Retry:
    """Backoff with jitter, the choice between MQTT 5 and 3.1.1, and patience with a rival of the same device id.

    A rival is what the broker calls one, by the reason code "session taken over" of MQTT 5, and nothing else: whoever
    takes a restarting broker for a rival stays away from it for minutes.

    Args:
        device: The device id, for the message.
        shortest_s: Upper bound of the first delay; doubled with every failure.
        longest_s: Upper bound of every delay but after a take-over.
        brokers: How many are tried in turn: delays grow when all of them have failed, not with each.
        rival_s: Least delay after a take-over, doubled up to ten times as much; up to twice that with jitter.
        dice: Gives 0..1.
    """

    def __init__(
        self,
        *,
        device: str,
        shortest_s: float = 0.5,
        longest_s: float = 30.0,
        brokers: int = 1,
        rival_s: float = 30.0,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.protocol: Version = "5"
        self.warning: str | None = None
        """What is still to be feared although we are connected."""
        self._device = device
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._brokers = brokers
        self._rival_s = rival_s
        self._dice = dice
        self._failures = 0
        self._rivals = 0
        self._quick = 0
        self._silent = 0
        self._proven = False
        self._opened_at = -math.inf

    def patience_s(self, host: str) -> float:
        """How long an attempt may take, TCP, TLS and CONNACK together.

        Some 3.1.1 brokers (amqtt) take an MQTT 5 CONNECT for a longer one of theirs and wait for the rest, so the very
        first attempt is cut short; at worst a slow MQTT 5 broker is then spoken to in 3.1.1.
        """
        if self.protocol == "3.1.1" or self._proven or self._failures:
            return HANDSHAKE_S if self._brokers == 1 else OTHERS_S
        return FIRST_LOCAL_S if host in ("localhost", "127.0.0.1", "::1") else FIRST_S

    def opened(self, now: float) -> None:
        """Note that the broker let us in, at `now` on the monotonic clock."""
        self._proven = True
        self._silent = 0
        self._opened_at = now

    def closed(self, now: float, end: Closed) -> tuple[float, str]:
        """Judge how a connection ended.

        Returns:
            Seconds to wait before the next attempt, and the error as a person should read it.
        """
        if end.how in ("lost", "taken over"):
            return self._after_open(now, end)
        if end.how in ("dropped", "refused") and self._other_protocol(end):
            return 0.0, end.error
        return self._backoff(now), end.error

    def _after_open(self, now: float, end: Closed) -> tuple[float, str]:
        held_s = now - self._opened_at
        if held_s >= STABLE_S:
            self._rivals = 0
            self.warning = None
        if held_s >= QUICK_S:
            self._failures = 0
        self._quick = self._quick + 1 if held_s < QUICK_S else 0
        if end.how == "taken over":
            self.warning = (
                f"another client uses device id {self._device!r}; give each device an id of its own (device.id)"
            )
            delay_s = self._rival_s * min(10, 2**self._rivals) * (1 + self._dice())
            self._rivals += 1
            return delay_s, self.warning
        error = end.error
        if self._quick >= QUICK_LIMIT and end.code == 0x80:  # paho: the socket was closed without a word
            error += (
                f"; again and again right after connecting: the broker restarts, or another client uses device id "
                f"{self._device!r}"
            )
        return self._backoff(now), error

    def _other_protocol(self, end: Closed) -> bool:
        """Change the protocol where that may be the cause; True: try it at once."""
        unsupported = end.code == UNSUPPORTED_PROTOCOL
        if end.how == "refused" and not unsupported:
            return False
        self._silent += 1
        if self._proven and not unsupported and self._silent < QUICK_LIMIT:
            return False  # it worked before: the broker is rather just going down
        self.protocol = "3.1.1" if self.protocol == "5" else "5"
        self._proven = False
        return self.protocol == "3.1.1" and self._failures == 0

    def _backoff(self, now: float) -> float:
        rounds = self._failures // self._brokers
        ceiling: float = min(self._longest_s, self._shortest_s * (1 << min(rounds, 16)))
        if now - self._opened_at < RECENT_S:
            ceiling = min(ceiling, RECENT_LONGEST_S)
        self._failures += 1
        return ceiling * (0.5 + 0.5 * self._dice())
