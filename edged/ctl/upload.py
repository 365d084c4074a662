"""Send a file to a device in parts: a window of commands in flight, each answered by an ack."""

from __future__ import annotations

import base64
import hashlib
import time
from collections import deque
from dataclasses import dataclass
from uuid import uuid4

import paho.mqtt.client as paho

from edged.contract.messages import Ack
from edged.ctl.client import Client, command_json
from edged.ctl.errors import RejectedError
from edged.ctl.presence import Presence
from edged.terminal.progress import progress

PART_BYTES = 256 * 1024
WINDOW = 4
"""Parts without an ack: enough to hide a round trip, little enough for a broker's queue."""
RETRY_S = 5.0
"""A part that the broker has taken, and that has no ack, is sent again, under the same id, after so long, then after
twice as long, and so on: a slow device shall not get everything many times over."""
_LONGEST_RETRY_S = 80.0
_EXPIRES_S = 600.0


@dataclass(slots=True)
class _Part:
    offset: int
    info: paho.MQTTMessageInfo | None = None
    taken_at: float | None = None  # when the broker was seen to have it
    retry_s: float = RETRY_S


class Upload:
    """One file to one device.

    Args:
        client: An open client.
        device: Its id.
        data: Content of the file.
        name: What the file is called.
    """

    def __init__(self, client: Client, device: str, data: bytes, name: str) -> None:
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._client, self._device, self._data, self._name = client, device, data, name
        self.part_bytes = PART_BYTES
        """Of the file, in one command; less where the broker takes less."""
        if client.max_bytes is not None:
            self.part_bytes = max(1024, min(PART_BYTES, (client.max_bytes - 1024) * 3 // 4))
        offsets = range(0, len(data), self.part_bytes)
        self._waiting = deque((uuid4().hex, _Part(offset)) for offset in offsets)
        self._sent: dict[str, _Part] = {}

    def run(self, presence: Presence, *, quiet: bool = False) -> str:
        """Send the file, as long as the device is there, and show how far it is, on stderr.

        Args:
            presence: Of the device.
            quiet: Do not show how far it is.

        Returns:
            The data's sha256, under which the device keeps it.

        Raises:
            RejectedError: The device refuses a part.
            NoAnswerError: It is gone.
        """
        acknowledged = 0
        told = progress(f"{self._device} {self._name}", unit="bytes", quiet=quiet)
        with self._client.subscribe(f"{self._device}/ack/+") as answers, told as tell:
            while self._waiting or self._sent:
                while self._waiting and len(self._sent) < WINDOW:
                    self._send(*self._waiting.popleft())
                message = answers.get(0.5)
                ack = message.decode(Ack) if message is not None else None
                if ack is not None and (part := self._sent.pop(ack.id, None)) is not None:
                    presence.answered()
                    if ack.status == "rejected":
                        raise RejectedError(f"{self._device} refuses {self._name}: {ack.error or 'it gives no reason'}")
                    acknowledged += min(self.part_bytes, len(self._data) - part.offset)
                    tell(acknowledged, len(self._data))
                presence.check(f"{acknowledged} of {len(self._data)} bytes of {self._name} are there")
                self._send_again(presence)
        return self.sha256

    def _send(self, command_id: str, part: _Part) -> None:
        args = {
            "sha256": self.sha256,
            "size": len(self._data),
            "offset": part.offset,
            "data": base64.b64encode(self._data[part.offset : part.offset + self.part_bytes]).decode(),
        }
        payload = command_json(command_id, args, _EXPIRES_S)
        part.info = self._client.send(f"{self._device}/cmd/models_chunk", payload, expires_s=_EXPIRES_S)
        part.taken_at = None
        self._sent[command_id] = part

    def _send_again(self, presence: Presence) -> None:
        """Send what the broker has taken and the device has not acknowledged: it was away, or the ack got lost.

        What the broker has not taken yet paho still sends; more of it would only make a slow way slower.
        """
        now = time.monotonic()
        came_back, presence.back = presence.back, False
        for command_id, part in list(self._sent.items()):
            if part.info is None or not part.info.is_published():
                continue
            part.taken_at = part.taken_at or now
            if self._client.connected and (came_back or now - part.taken_at > part.retry_s):
                part.retry_s = min(2 * part.retry_s, _LONGEST_RETRY_S)
                self._send(command_id, part)
