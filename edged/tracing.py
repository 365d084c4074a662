"""A trace of the live pipeline, in Chrome's trace-event format: opens in Perfetto and chrome://tracing.

Off, a place that may be traced costs one look at `active`. On, it appends to a bounded buffer, and a thread writes.
The file is a JSON array with one event per line. The end bracket comes with the end; without it, after a kill, both
viewers read the file all the same. Format: "Trace Event Format" (Chromium), phases X, b, e and M.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any

from edged.errors import ConfigError

log = logging.getLogger(__name__)

MAX_EVENTS = 1_000_000
"""About 130 MB, or an hour and a half at 30 frames per second; what comes later is left out."""
_BUFFER = 20_000
_FLUSH_S = 0.25
_ORDER = ("capture", "prepare", "invoke", "publish", "mqtt")


class Tracer:
    """Writes events to a file. Thread-safe; times are the monotonic clock's nanoseconds.

    Args:
        path: The file; replaced where it exists.
        max_events: After so many, nothing more is written.

    Raises:
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: Path, max_events: int = MAX_EVENTS) -> None:
        try:
            self._file: IO[bytes] = path.open("wb", buffering=0)
            self._file.write(b'[\n{"name":"process_name","ph":"M","pid":%d,"args":{"name":"edged"}}' % os.getpid())
        except OSError as error:
            raise ConfigError(f"--trace {path}: cannot be written: {error.strerror}") from error
        self.path = path
        self.dropped = 0
        """Events that were left out, because the file is full or the disk too slow."""
        self._left = max_events
        self._pid = os.getpid()
        self._tracks: dict[str, int] = {}
        self._ids = itertools.count(1)
        self._events: deque[dict[str, Any]] = deque()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def span(self, track: str, name: str, begin_ns: int, end_ns: int, **args: Any) -> None:
        """Note that `name` happened on `track` from `begin_ns` to `end_ns`."""
        span = {"name": name, "ph": "X", "ts": begin_ns / 1e3, "dur": max(0, end_ns - begin_ns) / 1e3, "args": args}
        self._add(track, span)

    def overlapping(self, track: str, name: str, begin_ns: int, end_ns: int, **args: Any) -> None:
        """The same for what may overlap others on its track, such as messages in flight."""
        number = next(self._ids)
        common = {"name": name, "cat": track, "id": number}
        self._add(track, {**common, "ph": "b", "ts": begin_ns / 1e3, "args": args})
        self._add(track, {**common, "ph": "e", "ts": end_ns / 1e3})

    def close(self) -> None:
        """Write what is left and the end bracket."""
        self._end.set()
        self._thread.join()
        if self.dropped:
            log.warning("%s: %d events were left out", self.path, self.dropped)

    def _add(self, track: str, event: dict[str, Any]) -> None:
        if self._left <= 0 or len(self._events) >= _BUFFER:
            self.dropped += 1
            return
        self._left -= 1
        self._events.append({**event, "track": track})

    def _run(self) -> None:
        try:
            while not self._end.wait(_FLUSH_S):
                self._flush()
            self._flush()
            self._file.write(b"\n]\n")
        except OSError as error:
            self._left = 0
            log.error("%s: cannot be written: %s; tracing ends", self.path, error.strerror)
        finally:
            self._file.close()

    def _flush(self) -> None:
        """Write whole lines in one call, each after a comma: cut off anywhere, all but a last line are whole."""
        lines = []
        while self._events:
            event = self._events.popleft()
            track = event.pop("track")
            if track not in self._tracks:
                lines += self._introduce(track)
            lines.append({**event, "pid": self._pid, "tid": self._tracks[track]})
        if lines:
            self._file.write(b"".join(b",\n" + json.dumps(line, separators=(",", ":")).encode() for line in lines))

    def _introduce(self, track: str) -> list[dict[str, Any]]:
        """Name a new track, and put it in the order of a frame's way."""
        self._tracks[track] = tid = len(self._tracks) + 1
        rank = next((place for place, kind in enumerate(_ORDER) if track.startswith(kind)), len(_ORDER))
        return [
            {"name": kind, "ph": "M", "pid": self._pid, "tid": tid, "args": args}
            for kind, args in (("thread_name", {"name": track}), ("thread_sort_index", {"sort_index": rank}))
        ]


active: Tracer | None = None
"""The tracer that is on. Whoever may be traced asks `if tracing.active is not None`."""


def start(path: Path) -> Tracer:
    """Switch tracing on; `stop` ends it."""
    global active  # noqa: PLW0603 - like the root logger: every room reaches it without passing it around
    active = Tracer(path)
    return active


def stop() -> None:
    """Switch tracing off and finish the file; does nothing where it is off."""
    global active
    tracer, active = active, None
    if tracer is not None:
        tracer.close()


def now_ns() -> int:
    """Return the clock of all spans."""
    return time.monotonic_ns()
