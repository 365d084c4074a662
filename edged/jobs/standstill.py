"""Whether a process still works: what the kernel counts as processor time of it, and of all that it has started."""

from __future__ import annotations

import os
import time

LOOKS = 6
"""So many looks in a row must find that nothing was done. They are counted, and not the time between them: where this
process was stopped together with the other, the first look after that finds nothing done for as long."""


class Standstill:
    """Watches a process. One that waits for what can never come, a deadlock say, ends nothing by itself.

    Args:
        pid: Of the process; it is not waited for yet.
        after_s: So long it may do nothing.
    """

    def __init__(self, pid: int, after_s: float) -> None:
        self._pid = pid
        self._pause_s = after_s / LOOKS
        self._next = time.monotonic() + self._pause_s
        self._used = -1
        self._unchanged = 0

    def lasts(self) -> bool:
        """Look, where it is time to: whether nothing was done for so long."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._pause_s
        try:
            used = processor_ticks(self._pid)
        except OSError:  # too many open files: this process has other troubles
            return False
        self._unchanged = self._unchanged + 1 if used == self._used else 0
        self._used = used
        return self._unchanged >= LOOKS


def processor_ticks(pid: int) -> int:
    """Return the processor time of a process and of what it has started, in the kernel's ticks; 0: it is gone."""
    used: dict[int, int] = {}
    started: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - hundreds, and pathlib makes an object of each
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - the same
                fields = file.read().rpartition(b")")[2].split()  # its name may hold anything
        except OSError:  # it ended meanwhile
            continue
        used[int(name)] = sum(map(int, fields[11:15]))  # its own in both modes, and that of children it has waited for
        started.setdefault(int(fields[1]), []).append(int(name))
    total, found = 0, [pid]
    while found:
        one = found.pop()
        total += used.get(one, 0)
        found += started.get(one, [])
    return total
