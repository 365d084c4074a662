"""What the console hears of the fleet, on a thread of its own, and what it asks of a device."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from edged.contract.messages import FINAL, Job
from edged.ctl.board import TOPICS, Board
from edged.ctl.choice import Choice
from edged.ctl.client import Client
from edged.ctl.console import command_log
from edged.ctl.console.command_log import CommandLog
from edged.ctl.console.feed import Feed
from edged.ctl.console.history import History
from edged.ctl.subscription import Subscription

_ALL_ROWS_S = 2.0
"""How often all rows are computed: who falls silent says nothing."""
_TICK_S = 0.25
_LOOKING_S = 300.0
"""How long a device may say nothing while it looks through all of its photos."""
_LOOKS_THROUGH_ALL = ("images_suggest", "images_groups", "images_doubtful")


class Station:
    """Listens while it is entered. Safe to use from any thread.

    Args:
        client: An open client.
        choice: Which devices there shall be; others are neither shown nor commanded.
    """

    def __init__(self, client: Client, choice: Choice) -> None:
        self.client = client
        self.choice = choice
        self._lock = threading.Lock()
        self._board = Board(choice)
        self._feed = Feed(self._board)
        self._histories: dict[str, History] = {}
        self._logs: dict[str, CommandLog] = {}
        self._told: set[str] = set()
        self._all_at = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="station", daemon=True)
        self._subscriptions: list[Subscription] = []

    def __enter__(self) -> Station:
        level = self.choice.level
        # QoS 0: of a large fleet Mosquitto drops what is beyond a thousand messages of QoS 1.
        for topics in (TOPICS, command_log.TOPICS):
            self._subscriptions.append(self.client.subscribe(*(f"{level}/{topic}" for topic in topics), qos=0))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        for subscription in self._subscriptions:
            subscription.close()

    def _listen(self) -> None:
        said, done = self._subscriptions
        while not self._over.is_set():
            message = said.get(_TICK_S)
            with self._lock:
                while message is not None:
                    device = message.device
                    self._board.take(message)
                    self._told.add(device)
                    if message.levels == ("telemetry",):
                        self._keep(device)
                    message = said.get(0)
                while (message := done.get(0)) is not None:
                    # The retained `job` of a device matches no filter here: it has no level below.
                    if len(message.levels) == 2 and self.choice.takes(message.device):
                        self._logs.setdefault(message.device, CommandLog()).take(message)

    def _keep(self, device: str) -> None:
        entry = self._board.entry(device)
        if entry is not None and entry.known.telemetry is not None:
            self._histories.setdefault(device, History()).take(entry.known.telemetry, time.time())

    def changes(self, version: int) -> dict[str, Any]:
        """Return what has changed in the fleet's rows after `version`; see `Feed.since`."""
        now = time.monotonic()
        with self._lock:
            if now - self._all_at >= _ALL_ROWS_S:
                self._all_at = now
                self._feed.refresh(now)
            elif self._told:
                self._feed.refresh(now, self._told)
            self._told = set()
            changed = self._feed.since(version, now)
        changed |= {"connected": self.client.connected, "broker": self.client.url}
        return changed

    def knows(self, device: str) -> bool:
        """Whether there is such a device."""
        with self._lock:
            return self._board.entry(device) is not None

    def describe(self, device: str) -> dict[str, Any] | None:
        """Return all that is known of a device but its history and its job's report; None: there is none."""
        now = time.monotonic()
        with self._lock:
            entry = self._board.entry(device)
            if entry is None:
                return None
            known = entry.known
            told: dict[str, Any] = {
                "id": known.id,
                "state": entry.state(now),
                "needs": entry.needs(now),
                "alerts": {name: {"since": one.since, "reason": one.reason} for name, one in entry.alerts.items()},
                "connected": self.client.connected,
                "broker": self.client.url,
            }
            for name in ("info", "model", "job", "telemetry"):
                message = getattr(known, name)
                if message is not None:
                    told[name] = message.model_dump(mode="json", exclude_none=True, exclude={"v", "report"})
        return told

    def report(self, device: str) -> tuple[str, dict[str, Any]] | None:
        """Return id and report of the job that a device ended last; None: it has not told of one."""
        with self._lock:
            entry = self._board.entry(device)
            job = entry.known.job if entry is not None else None
            if job is None or job.status not in FINAL:
                return None
            return job.id, job.model_dump(mode="json", exclude_none=True, exclude={"v"})

    def history(self, device: str, since: float = 0.0) -> dict[str, Any]:
        """Return a device's points from `since` on; see `History.as_json`."""
        with self._lock:
            history = self._histories.get(device)
            return history.as_json(since) if history is not None else {"t": [], "labels": {}, "series": {}}

    def log(self, device: str, version: int) -> dict[str, Any] | None:
        """Return a device's commands and its training's numbers; None: nothing is new after `version`."""
        with self._lock:
            log = self._logs.get(device)
            if log is None or log.version == version:
                return None
            return {"version": log.version, "entries": log.as_json(), "run": log.run, "curve": log.curve}

    def command(
        self, device: str, name: str, args: Mapping[str, Any], *, wait: bool = True, image: bool = False
    ) -> tuple[Job | None, bytes]:
        """Send a command.

        Args:
            device: Its id.
            name: The command.
            args: Its arguments.
            wait: Wait for the end of its job; else it has been accepted, and no job is returned.
            image: Whether an image comes with the job.

        Returns:
            The job as it ended, and the image, empty where none was asked for.

        Raises:
            RejectedError: The device refuses it.
            NoAnswerError: It does not answer.
        """
        client = self.client
        ack = client.command(device, name, args)
        try:
            if not wait:
                return None, b""
            silence_s = max(_LOOKING_S, client.timeout_s) if name in _LOOKS_THROUGH_ALL else None
            job = next(job for job in client.jobs(ack.id, silence_s=silence_s) if job.status in FINAL)
            wanted = image and job.status == "succeeded"
            return job, client.image(ack.id) if wanted else b""
        finally:
            client.forget(ack.id)
