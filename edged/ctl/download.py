"""Fetch what a device has made ready, in parts: a window of commands in flight, a lost part asked for again."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import paho.mqtt.client as paho

from edged.contract.messages import Ack, Job
from edged.ctl.client import Client, command_json
from edged.ctl.errors import RejectedError
from edged.ctl.presence import Presence
from edged.ctl.subscription import Incoming

PART_BYTES = 256 * 1024
WINDOW = 4
"""Parts that are asked for and not here: enough to hide a round trip, little enough for a broker's queue."""
RETRY_S = 5.0
"""A part that the broker was asked for so long ago, and that is not here, is asked for again, then after twice as long,
and so on, each time under another id: a device answers an id that it knows, and sends nothing a second time."""
_LONGEST_RETRY_S = 80.0
_EXPIRES_S = 600.0
_REFUSED = ("rejected", "failed", "cancelled")


@dataclass(slots=True)
class _Asked:
    offset: int
    info: paho.MQTTMessageInfo
    at: float
    retry_s: float


class Download:
    """What `bottlenecks_get` has made ready on one device.

    Args:
        client: An open client.
        device: Its id.
        sha256: Of the whole.
        size: Of the whole, bytes.
    """

    def __init__(self, client: Client, device: str, sha256: str, size: int) -> None:
        self._client, self._device, self._sha256, self._size = client, device, sha256, size
        self._part_bytes = PART_BYTES
        if client.max_bytes is not None:
            self._part_bytes = max(1024, min(PART_BYTES, client.max_bytes - 1024))
        self._waiting = deque(range(0, size, self._part_bytes))
        self._asked: dict[str, _Asked] = {}
        self._offsets: dict[str, int] = {}
        self._parts: dict[int, bytes] = {}

    def run(self, presence: Presence, tell: Callable[[int, int], None] = lambda _have, _of: None) -> bytes:
        """Fetch it, as long as the device is there.

        Args:
            presence: Of the device.
            tell: Called with the bytes that are here, and with all.

        Raises:
            RejectedError: The device refuses a part, or what arrived is not what was promised.
            NoAnswerError: It is gone.
        """
        have = 0
        topics = (f"{self._device}/{kind}/+" for kind in ("bottlenecks", "ack", "job"))
        with self._client.subscribe(*topics) as answers:
            while self._waiting or self._asked:
                while self._waiting and len(self._asked) < WINDOW:
                    self._ask(self._waiting.popleft(), RETRY_S)
                message = answers.get(0.5)
                if message is not None and self._take(message):
                    presence.answered()
                    have = sum(map(len, self._parts.values()))
                    tell(have, self._size)
                presence.check(f"{have} of {self._size} bytes of its bottlenecks are here")
                self._ask_again(presence)
        data = b"".join(self._parts[offset] for offset in sorted(self._parts))
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise RejectedError(f"{self._device}: its bottlenecks are not what it has promised; ask again")
        return data

    def _ask(self, offset: int, retry_s: float) -> None:
        command_id = uuid4().hex
        args = {"sha256": self._sha256, "offset": offset, "bytes": min(self._part_bytes, self._size - offset)}
        payload = command_json(command_id, args, _EXPIRES_S)
        info = self._client.send(f"{self._device}/cmd/bottlenecks_part", payload, expires_s=_EXPIRES_S)
        self._asked[command_id] = _Asked(offset, info, time.monotonic(), retry_s)
        self._offsets[command_id] = offset

    def _take(self, message: Incoming) -> bool:
        """Handle an answer; False: it was not for us, or brings nothing new."""
        kind, command_id = message.levels[0], message.levels[-1]
        if (offset := self._offsets.get(command_id)) is None:
            return False
        if kind != "bottlenecks":
            answer = message.decode(Ack) if kind == "ack" else message.decode(Job)
            if answer is not None and answer.status in _REFUSED and offset not in self._parts:
                raise RejectedError(f"{self._device} sends no bottlenecks: {answer.error or 'it gives no reason'}")
            return False
        if offset in self._parts or len(message.payload) != min(self._part_bytes, self._size - offset):
            return False
        self._parts[offset] = message.payload
        self._asked = {id_: asked for id_, asked in self._asked.items() if asked.offset != offset}
        return True

    def _ask_again(self, presence: Presence) -> None:
        now = time.monotonic()
        came_back, presence.back = presence.back, False
        for command_id, asked in list(self._asked.items()):
            if not asked.info.is_published() or not self._client.connected:
                asked.at = now  # what the broker has not taken yet paho still sends
            elif came_back or now - asked.at > asked.retry_s:
                del self._asked[command_id]
                self._ask(asked.offset, min(2 * asked.retry_s, _LONGEST_RETRY_S))
