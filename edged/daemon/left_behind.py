"""What this device left at the broker because of its configuration, remembered on disk.

Retained messages outlive the process that published them. A later configuration may not want some of them any more:
the label of a camera that is gone. So each such topic is noted before anything is published on it, and until the broker
has acknowledged that it is empty again.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from edged.logs import Rarely
from edged.store import durable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

_FILE = "retained.json"
_LONGEST_BYTES = 4096
"""Of a topic; MQTT's own limit is 65,535 with the prefix and the device before it."""


class LeftBehind:
    """Topics with a note on each, any JSON. Thread-safe; on disk when a method returns.

    A file that cannot be read counts as empty, and a disk that takes nothing costs no more than what was to be
    remembered: both are told in the log.

    Args:
        state_dir: Where it is remembered.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / _FILE
        self._lock = threading.Lock()
        self._failures = Rarely(log)
        self._topics = self._read()

    def topics(self) -> dict[str, Any]:
        """Return topic → note."""
        with self._lock:
            return dict(self._topics)

    def remember(self, topics: Mapping[str, Any]) -> None:
        """Note topics, before anything is published there."""
        with self._lock:
            self._write({**self._topics, **topics})

    def forget(self, topic: str) -> None:
        """Nothing stands there any more."""
        with self._lock:
            self._write({other: note for other, note in self._topics.items() if other != topic})

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_bytes())
            topics = content["topics"]
            if not isinstance(topics, dict):
                raise TypeError("topics: no object")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s: not read: %s; messages of removed cameras may stay at the broker", self._file, error)
            return {}
        if strange := [topic for topic in topics if not _can_be_published(topic)]:
            log.warning("%s: damaged: %d topics on which nothing can stand are left out", self._file, len(strange))
        return {topic: note for topic, note in topics.items() if topic not in strange}

    def _write(self, topics: dict[str, Any]) -> None:
        if topics == self._topics:
            return
        self._topics = topics
        try:
            durable.write_file(self._file, json.dumps({"topics": topics}, indent=1).encode())
        except OSError as error:
            self._failures.log("%s: not written: %s", self._file, error.strerror or error)
        else:
            self._failures.reset()


def _can_be_published(topic: str) -> bool:
    """Whether MQTT takes a message there; one that is refused would keep the others from being sent."""
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= _LONGEST_BYTES and not set(topic) & {"+", "#", "\0"}
