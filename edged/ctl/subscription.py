"""What arrives on subscribed topics."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message from a device.

    Attributes:
        device: The topic's device level, as it came: untrusted text.
        levels: The topic's levels after the device, e.g. ("result", "main").
        payload: Raw bytes.
        retained: Whether the broker had kept it.
        at: Monotonic clock at arrival, seconds.
    """

    device: str
    levels: tuple[str, ...]
    payload: bytes
    retained: bool
    at: float

    def decode(self, model: type[M]) -> M | None:
        """Return the payload as `model`; None where it is something else (anybody may publish anything)."""
        try:
            return model.model_validate_json(self.payload)
        except ValidationError:
            return None

    def raw(self) -> dict[str, Any]:
        """Return the payload's JSON object, unknown fields included; empty where it is none."""
        try:
            value = json.loads(self.payload)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Subscription:
    """Messages of some topics, in order of arrival, from the moment it was made.

    Args:
        filters: Topic filters below the prefix.
        end: Called when it is closed.
        qos: At most this is wanted of the broker.
    """

    def __init__(self, filters: tuple[str, ...], end: Callable[[Subscription], None], qos: int = 1) -> None:
        self.filters = filters
        self.qos = qos
        # No SimpleQueue: before Python 3.13 `get` waits for ever where a signal interrupts it once its time is over, as
        # one does that came while the process was stopped.
        self.arrived: queue.Queue[Incoming] = queue.Queue()
        self._patterns = [tuple(name.split("/")) for name in filters]
        self._end = end

    def takes(self, levels: Sequence[str]) -> bool:
        """Whether a topic with these levels, below the prefix, is meant by one of the filters.

        As `paho.topic_matches_sub` says, which builds a tree for each question: with a thousand devices that shows.
        """
        return any(_means(pattern, levels) for pattern in self._patterns)

    def get(self, timeout_s: float) -> Incoming | None:
        """Return the next message; None where none came in time."""
        try:
            return self.arrived.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None

    def drain(self, *, quiet_s: float, limit_s: float) -> Iterator[Incoming]:
        """Yield messages until no retained one has come for `quiet_s`, or `limit_s` have passed.

        What has arrived by then is yielded too, however late this program gets round to looking.
        """
        quiet = time.monotonic() + quiet_s
        end = time.monotonic() + limit_s
        while (left := min(quiet, end) - time.monotonic()) > 0:
            message = self.get(left)
            if message is None:
                return
            if message.retained:  # a busy fleet's live messages do not put the end off
                quiet = time.monotonic() + quiet_s
            yield message
        for _ in range(self.arrived.qsize()):
            yield self.arrived.get_nowait()

    def close(self) -> None:
        """Receive no more."""
        self._end(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _means(pattern: tuple[str, ...], levels: Sequence[str]) -> bool:
    """Whether a topic filter means a topic (MQTT 5, 4.7.1), both as their levels."""
    if pattern[-1] == "#":
        pattern = pattern[:-1]
        levels = levels[: len(pattern)]
    return len(pattern) == len(levels) and all(
        wanted in ("+", level) for wanted, level in zip(pattern, levels, strict=True)
    )
