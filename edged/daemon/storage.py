"""The disk of the state folder, as the whole daemon sees it: what a full one keeps in memory, and the way back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edged import damage

if TYPE_CHECKING:
    from pathlib import Path

    from edged.images import ImageStore
    from edged.mqtt.link import Link

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often this looks."""


class Storage:
    """Looks now and then what is in memory because the disk is full, tells it, and brings it back when there is room.

    Args:
        folder: The state folder.
        link: Keeps messages and commands.
        images: Keeps the image index.
    """

    def __init__(self, folder: Path, link: Link, images: ImageStore) -> None:
        self._folder = folder
        self._link = link
        self._images = images
        self._told: str | None = None
        self._damage = 0
        self._changed: Callable[[], object] = lambda: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage")

    @property
    def degraded(self) -> str | None:
        """One line for `info`; None where all is on disk."""
        parts = self._link.in_memory
        if self._images.trouble is not None:
            parts = {**parts, "the image index": self._images.trouble}
        if not parts:
            return None
        why = next(iter(parts.values()))
        return f"storage: {self._folder} takes no more ({why}); in memory until there is room: {', '.join(parts)}"

    def start(self, changed: Callable[[], object]) -> None:
        """Begin to look.

        `changed` is called on this object's thread after each change of `degraded`, and when something was set aside.
        """
        self._changed = changed
        self._damage = len(damage.told())
        self._tell()
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the thread, waiting at most `timeout_s`: a disk that fails may keep it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                self._link.ledger.retry()
                self._images.retry()
                before, self._damage = self._damage, len(damage.told())
                if self._tell() or self._damage != before:
                    self._changed()
            except Exception:  # the top of a thread; frames go on
                log.exception("looking after the disk has failed")

    def _tell(self) -> bool:
        """Say in the log what has changed; return whether anything has."""
        now, before = self.degraded, self._told
        if now == before:
            return False
        self._told = now
        if now is None:
            log.info("storage: %s has room again; all is back on disk", self._folder)
        elif before is None:
            log.error("%s. Images and versions can go: edgectl images remove, edgectl models remove", now)
        return True
