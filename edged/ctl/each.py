"""The same for many devices at a time, and what came of it, device by device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

AT_A_TIME = 64
"""Devices that are waited for at once."""


def for_each(devices: Sequence[str], act: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Yield each device and what `act` returned for it, in the devices' order; a single one is asked in this thread.

    Ctrl-C ends the waiting, not what the devices do: the threads are daemons, which nobody waits for.

    Args:
        devices: Ids.
        act: Called with each id.

    Raises:
        Exception: What `act` raises.
    """
    if len(devices) == 1:
        yield devices[0], act(devices[0])
        return
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[str, T] | BaseException] = queue.SimpleQueue()
    for device in devices:
        waiting.put(device)

    def work() -> None:
        while True:
            try:
                device = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((device, act(device)))
            except BaseException as error:  # noqa: BLE001 - raised again by who reads
                ended.put(error)
                return

    for _ in range(min(AT_A_TIME, len(devices))):
        threading.Thread(target=work, daemon=True).start()
    known: dict[str, T] = {}
    for device in devices:
        while device not in known:
            outcome = ended.get()
            if isinstance(outcome, BaseException):
                raise outcome
            known[outcome[0]] = outcome[1]
        yield device, known.pop(device)
