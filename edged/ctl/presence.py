"""Whether a device is still there while something takes long: a slow one is waited for, one that is gone is told."""

from __future__ import annotations

import time
from types import TracebackType

from edged.ctl.client import Client
from edged.ctl.errors import NoAnswerError

PATIENCE_S = 30.0
"""A device that has said nothing at all for so long has gone."""
STUCK_S = 600.0
"""One that goes on with its telemetry, but not with what it was asked for, is given up after so long."""


class Presence:
    """Listens to a device beside its answers: telemetry is a sign of life, `offline` one of the contrary.

    Args:
        client: An open client.
        device: Its id.
    """

    def __init__(self, client: Client, device: str) -> None:
        self.back = False
        """Whether it has come back since this was last set to false: it missed what was sent meanwhile."""
        self._client = client
        self._device = device
        self._patience_s = max(PATIENCE_S, client.timeout_s)
        self._offline = False
        self._heard_at = self._answered_at = time.monotonic()
        self._said = client.subscribe(f"{device}/state", f"{device}/telemetry")

    def answered(self) -> None:
        """Note that it has gone on with what it was asked for."""
        self._answered_at = self._heard_at = time.monotonic()

    def look(self) -> None:
        """Take note of what it has said meanwhile; does not wait."""
        while (message := self._said.get(0)) is not None:
            if message.levels[0] == "state":
                self._offline = message.payload == b"offline"
                self.back = self.back or (not self._offline and not message.retained)
            if not self._offline and not message.retained:
                self._heard_at = message.at

    def is_there(self) -> bool:
        """Whether there is any hope left."""
        self.look()
        return self._why() is None

    def check(self, doing: str) -> None:
        """Raise NoAnswerError where it has gone: says how, and what it was at."""
        self.look()
        if (why := self._why()) is not None:
            raise NoAnswerError(f"{why}; {doing}")

    def _why(self) -> str | None:
        now = time.monotonic()
        if now - self._heard_at > self._patience_s:
            if not self._client.connected:
                return f"{self._client.url} has been away for {self._patience_s:g} s"
            gone = "has gone offline" if self._offline else "has gone"
            return f"{self._device} {gone}: nothing was heard of it for {self._patience_s:g} s"
        if now - self._answered_at > STUCK_S:
            return f"{self._device} is there, but has not gone on for {STUCK_S:g} s"
        return None

    def __enter__(self) -> Presence:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._said.close()
