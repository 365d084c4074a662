"""Send a file to a device in parts: a window of commands in flight, each answered by an ack."""

from __future__ import annotations

import base64
import hashlib
import time
from collections import deque
from uuid import uuid4

from edged.contract.messages import Ack
from edged.ctl.client import Client, command_json
from edged.ctl.errors import NoAnswerError, RejectedError
from edged.terminal.progress import progress

PART_BYTES = 256 * 1024
WINDOW = 4
"""Parts without an ack: enough to hide a round trip, little enough for a broker's queue."""
RETRY_S = 5.0
"""A part without an ack is sent again, under the same id, after so long."""
_EXPIRES_S = 600.0


def upload(client: Client, device: str, data: bytes, name: str, *, quiet: bool = False) -> str:
    """Send `data` as `models_chunk` commands and show how far it is, on stderr.

    Args:
        client: An open client.
        device: Its id.
        data: Content of the file.
        name: What the file is called.
        quiet: Do not show how far it is.

    Returns:
        The data's sha256, under which the device keeps it.

    Raises:
        RejectedError: The device refuses a part.
        NoAnswerError: It fell silent.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    part = PART_BYTES
    if client.max_bytes is not None:
        part = max(1024, min(part, (client.max_bytes - 1024) * 3 // 4))
    waiting = deque((uuid4().hex, offset) for offset in range(0, len(data), part))
    sent: dict[str, tuple[int, float]] = {}
    patience_s = max(30.0, client.timeout_s)
    heard = time.monotonic()
    acknowledged = 0
    told = progress(f"{device} {name}", unit="bytes", quiet=quiet)
    with client.subscribe(f"{device}/ack/+") as answers, told as tell:
        while waiting or sent:
            while waiting and len(sent) < WINDOW:
                command_id, offset = waiting.popleft()
                args = {
                    "sha256": sha256,
                    "size": len(data),
                    "offset": offset,
                    "data": base64.b64encode(data[offset : offset + part]).decode(),
                }
                client.send(f"{device}/cmd/models_chunk", command_json(command_id, args, _EXPIRES_S))
                sent[command_id] = (offset, time.monotonic())
            message = answers.get(0.5)
            now = time.monotonic()
            ack = message.decode(Ack) if message is not None else None
            if ack is not None and ack.id in sent:
                heard = now
                offset, _ = sent.pop(ack.id)
                if ack.status == "rejected":
                    raise RejectedError(f"{device} refuses {name}: {ack.error or 'it gives no reason'}")
                acknowledged += min(part, len(data) - offset)
                tell(acknowledged, len(data))
            for command_id, (offset, at) in list(sent.items()):
                if now - at > RETRY_S and client.connected:
                    del sent[command_id]
                    waiting.append((command_id, offset))
            if now - heard > patience_s:
                raise NoAnswerError(f"{device} has acknowledged no part of {name} for {patience_s:g} s")
    return sha256
