"""Push photos to a device: a window of commands in flight, each answered by an ack, sent again under the same id."""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import paho.mqtt.client as paho

from edged.contract.messages import Ack
from edged.ctl.client import Client, command_json
from edged.ctl.errors import NoAnswerError, RejectedError
from edged.ctl.photos import LocalPhoto
from edged.ctl.subscription import Incoming

WINDOW = 16
"""Commands without an ack at most: enough to hide a round trip, few enough for a small broker's queue."""
WINDOW_BYTES = 4_000_000
RETRY_S = 5.0
"""After so long without an ack, what the broker has is sent again: the device was away, or the ack got lost."""
PATIENCE_S = 30.0
"""A device that acknowledges nothing for so long has gone."""
EXPIRES_S = 600.0
_ASKED_AT_ONCE = 900
_OVERHEAD_BYTES = 1024


@dataclass(slots=True)
class Outcome:
    """What became of the photos.

    Attributes:
        pushed: Stored by this push.
        relabeled: Were there under another label, or none.
        present: Were there already, with this label.
        rejected: (photo, the device's reason).
        bytes: Of the files that were sent.
        resent: Commands that were sent more than once.
    """

    pushed: int = 0
    relabeled: int = 0
    present: int = 0
    rejected: list[tuple[LocalPhoto, str]] = field(default_factory=list)
    bytes: int = 0
    resent: int = 0

    @property
    def done(self) -> int:
        """Photos that need nothing more."""
        return self.pushed + self.relabeled + self.present + len(self.rejected)


@dataclass(slots=True)
class _Sent:
    photo: LocalPhoto
    with_file: bool
    info: paho.MQTTMessageInfo
    taken_at: float | None = None  # when the broker was seen to have it


class Push:
    """One push to one device.

    Args:
        client: An open client.
        device: Its id.
        progress: Called with the outcome so far after each photo.
    """

    def __init__(self, client: Client, device: str, progress: Callable[[Outcome], None]) -> None:
        self.outcome = Outcome()
        self._client = client
        self._device = device
        self._progress = progress
        self._todo: deque[tuple[LocalPhoto, bool]] = deque()
        self._sent: dict[str, _Sent] = {}
        self._sent_bytes = 0
        self._patience_s = max(PATIENCE_S, client.timeout_s)

    def run(self, photos: Sequence[LocalPhoto]) -> Outcome:
        """Send what the device does not have.

        Raises:
            NoAnswerError: The device fell silent; the same push later goes on where this one ended.
            RejectedError: It knows no such command.
        """
        with self._client.subscribe(f"{self._device}/ack/+", f"{self._device}/state") as answers:
            self._plan(photos)
            heard_at = time.monotonic()
            while self._todo or self._sent:
                self._fill()
                message = answers.get(0.5)
                now = time.monotonic()
                if message is not None and self._take(message):
                    heard_at = now
                if self._look_after(now):
                    heard_at = now
                if now - heard_at > self._patience_s:
                    raise NoAnswerError(
                        f"{self._device} has acknowledged nothing for {self._patience_s:g} s; "
                        f"{self.outcome.done} of {len(photos)} photos are there, the same command goes on from here"
                    )
        return self.outcome

    def _plan(self, photos: Sequence[LocalPhoto]) -> None:
        """Ask which photos are there."""
        for begin in range(0, len(photos), _ASKED_AT_ONCE):
            some = photos[begin : begin + _ASKED_AT_ONCE]
            for photo, label in zip(some, self._labels([photo.sha256 for photo in some]), strict=False):
                if label == photo.label:
                    self.outcome.present += 1
                elif label is None and self._too_large(photo):
                    self.outcome.rejected.append((photo, "larger than the broker's maximum packet size"))
                else:
                    self._todo.append((photo, label is None))
            self._progress(self.outcome)

    def _labels(self, shas: list[str]) -> list[str | None]:
        ack = self._client.command(self._device, "images_have", {"shas": shas})
        *_, job = self._client.jobs(ack.id)
        self._client.forget(ack.id)
        labels = (job.report or {}).get("labels")
        if job.status != "succeeded" or not isinstance(labels, list) or len(labels) != len(shas):
            raise RejectedError(f"{self._device}: images_have {job.status}: {job.error or 'no list of labels'}")
        return labels

    def _too_large(self, photo: LocalPhoto) -> bool:
        limit = self._client.max_bytes
        return limit is not None and photo.bytes * 4 // 3 + _OVERHEAD_BYTES > limit

    def _fill(self) -> None:
        while (
            self._todo
            and len(self._sent) < WINDOW
            and (not self._sent or self._sent_bytes + self._todo[0][0].bytes <= WINDOW_BYTES)
        ):
            photo, with_file = self._todo.popleft()
            command_id = uuid4().hex
            if (info := self._send(command_id, photo, with_file)) is not None:
                self._sent[command_id] = _Sent(photo, with_file, info)
                self._sent_bytes += photo.bytes

    def _send(self, command_id: str, photo: LocalPhoto, with_file: bool) -> paho.MQTTMessageInfo | None:
        """Publish the command; None where the file can no longer be read."""
        args = {"label": photo.label, "sha256": photo.sha256}
        if with_file:
            try:
                args["jpeg"] = base64.b64encode(photo.path.read_bytes()).decode()
            except OSError as error:
                self._rejected(photo, (error.strerror or str(error)).lower())
                return None
        payload = command_json(command_id, args, EXPIRES_S)
        return self._client.send(f"{self._device}/cmd/image", payload, expires_s=EXPIRES_S)

    def _take(self, message: Incoming) -> bool:
        """Handle an answer; False: it was not for us."""
        if message.levels[0] == "state":
            if message.payload == b"online" and not message.retained:
                # It has begun anew, and what it was sent meanwhile never reached it.
                self._resend(command_id for command_id, sent in self._sent.items() if sent.info.is_published())
            return False
        ack = message.decode(Ack)
        sent = self._sent.pop(ack.id, None) if ack is not None else None
        if ack is None or sent is None:
            return False
        self._sent_bytes -= sent.photo.bytes
        if ack.status == "rejected":
            self._rejected(sent.photo, ack.error or "it gives no reason")
            return True
        if sent.with_file:
            self.outcome.pushed += 1
            self.outcome.bytes += sent.photo.bytes
        else:
            self.outcome.relabeled += 1
        self._progress(self.outcome)
        return True

    def _rejected(self, photo: LocalPhoto, reason: str) -> None:
        self.outcome.rejected.append((photo, reason))
        self._progress(self.outcome)

    def _look_after(self, now: float) -> bool:
        """Note what the broker has taken, send again what got no ack; True: the broker has taken something."""
        taken = False
        for sent in self._sent.values():
            if sent.taken_at is None and sent.info.is_published():
                sent.taken_at, taken = now, True
        newest = max((sent.taken_at for sent in self._sent.values() if sent.taken_at is not None), default=now)
        if self._client.connected and now - newest > RETRY_S:
            self._resend(command_id for command_id, sent in self._sent.items() if sent.taken_at is not None)
        return taken

    def _resend(self, ids: Iterable[str]) -> None:
        for command_id in list(ids):
            old = self._sent.pop(command_id)
            self.outcome.resent += 1
            if (info := self._send(command_id, old.photo, old.with_file)) is not None:
                self._sent[command_id] = _Sent(old.photo, old.with_file, info)
            else:
                self._sent_bytes -= old.photo.bytes
