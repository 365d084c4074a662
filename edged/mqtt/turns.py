"""A queue in which a flood of one command leaves room for the others, and urgent ones pass. Pure but for its lock."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection
from typing import Generic, TypeVar

URGENT_IN_A_ROW = 4
"""After so many urgent items comes one of the others, so that a flood of urgent ones does not stop everything."""

T = TypeVar("T")


class Turns(Generic[T]):
    """Items with names: those of urgent names first, these names in turn; all others in the order in which they came.

    It bounds nothing by itself: whoever puts something in looks first how much of that name waits (`count`, `size`).

    Args:
        urgent: The names that pass.
    """

    def __init__(self, urgent: Collection[str]) -> None:
        self._urgent: dict[str, deque[tuple[T, int]]] = {name: deque() for name in urgent}
        self._others: deque[tuple[str, T, int]] = deque()
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._in_a_row = 0
        self._closed = False
        self._changed = threading.Condition()

    def count(self, name: str) -> int:
        """How many items of a name wait."""
        with self._changed:
            return self._counts[name]

    def size(self, name: str | None = None) -> int:
        """Sum of the sizes of the items of a name that wait; None: of all names that are not urgent."""
        with self._changed:
            if name is not None:
                return self._sizes[name]
            return sum(size for other, size in self._sizes.items() if other not in self._urgent)

    def put(self, name: str, item: T, size: int = 0) -> None:
        """Let an item wait."""
        with self._changed:
            if name in self._urgent:
                self._urgent[name].append((item, size))
            else:
                self._others.append((name, item, size))
            self._counts[name] += 1
            self._sizes[name] += size
            self._changed.notify()

    def get(self, *, wait: bool = True) -> T | None:
        """Take the next item; None: closed and empty, or, where it shall not wait, empty."""
        with self._changed:
            while wait and not self._closed and not self._counts:
                self._changed.wait()
            if not self._counts:
                return None
            urgent = next((name for name, items in self._urgent.items() if items), None)
            if urgent is not None and (self._in_a_row < URGENT_IN_A_ROW or not self._others):
                self._in_a_row += 1
                name, (item, size) = urgent, self._urgent[urgent].popleft()
                self._urgent[name] = self._urgent.pop(name)  # the last in turn
            else:
                self._in_a_row = 0
                name, item, size = self._others.popleft()
            self._counts[name] -= 1
            self._sizes[name] -= size
            if not self._counts[name]:
                del self._counts[name], self._sizes[name]
            return item

    def close(self) -> None:
        """Take nothing more, and let `get` return None once all that waits is taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
