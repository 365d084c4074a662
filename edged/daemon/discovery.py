"""Lets Home Assistant find this device, and what it has; `homeassistant.py` says in which words."""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from edged import __version__
from edged.daemon.homeassistant import Readable, describe, discovery_topic, list_components, stand_in

if TYPE_CHECKING:
    from edged.daemon.homeassistant import Component
    from edged.daemon.left_behind import LeftBehind
    from edged.mqtt.link import Link
    from edged.settings import Settings
    from edged.types import Reading

log = logging.getLogger(__name__)

_COMPONENTS = "components"
_SETTLED_S = 10.0
"""Home Assistant has long taken a description in by then; of one that comes too soon after another it drops parts."""


class Discovery:
    """Publishes the description, retained, where the configuration says so, and takes it back where it does not.

    What Home Assistant was told of once it keeps until it is told that it is gone, so each component that was ever
    described is remembered, and one that is there no more is named as gone. One that was away then does not know what
    is meant, although it remembers it too: when it has started it is told of what is gone as if it were there, and
    then that it is gone, after which nobody needs to remember it. Thread-safe.

    Args:
        settings: The whole configuration.
        link: Where the description goes.
        left_behind: Remembers what was described, and where.
    """

    def __init__(self, settings: Settings, link: Link, left_behind: LeftBehind) -> None:
        self._settings = settings
        self._on = settings.homeassistant.discovery
        self._topic = discovery_topic(settings)
        self._link = link
        self._left_behind = left_behind
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # never held while the disk is written
        self._readable: Readable | None = None
        self._payload: bytes | None = None
        self._with_gone: bytes | None = None
        self._now: dict[str, str] = {}
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Take back what an earlier configuration has published elsewhere, or at all."""
        for topic, note in self._left_behind.topics().items():
            if _described(note) is not None and not (self._on and topic == self._topic):
                self._link.withdraw(topic, partial(self._left_behind.forget, topic), whole=True)

    def configure(self, settings: Settings) -> None:
        """Follow cameras that come and go, and keys that commands must be signed with; the rest needs a restart."""
        with self._lock:
            changed = {"cameras": settings.cameras, "security": settings.security}
            self._settings = self._settings.model_copy(update=changed)
            self._publish()

    def observe(self, reading: Reading) -> None:
        """Describe the sensors too; their first reading tells which there are. Another one may tell of more."""
        with self._lock:
            before = self._readable or Readable()
            readable = Readable(
                before.power | reading.power_mw.keys(),
                before.temperatures | reading.temp_c.keys(),
                before.throttled or reading.throttled is not None,
            )
            if readable != self._readable:
                self._readable = readable
                self._publish()

    def greet(self, payload: bytes) -> None:
        """Publish it again when Home Assistant says that it has started; on the link's thread."""
        with self._sending:
            if payload != b"online" or self._payload is None:
                return
            self._link.retained(self._topic, self._with_gone or self._payload, whole=True)
            if self._with_gone is not None and self._timer is None:
                self._timer = threading.Timer(_SETTLED_S, self._bury)
                self._timer.daemon = True
                self._timer.start()

    def _bury(self) -> None:
        """Name what is gone as gone, to a Home Assistant that knows it again, and forget it."""
        with self._lock:
            with self._sending:
                self._timer = self._with_gone = None
                if self._payload is not None:
                    self._link.retained(self._topic, self._payload, whole=True)
            self._left_behind.remember({self._topic: {_COMPONENTS: self._now}})

    def _publish(self) -> None:
        if not self._on or self._readable is None:
            return
        components = list_components(self._settings, self._settings.cameras, self._readable)
        note = self._left_behind.topics().get(self._topic)
        before = _described(note) or {}
        now = {name: component["platform"] for name, component in components.items()}
        gone = {name: platform for name, platform in before.items() if name not in now}
        payload = self._encode(components, gone)
        if payload != self._payload:
            self._left_behind.remember({self._topic: {_COMPONENTS: {**gone, **now}}})
            with_gone = {name: stand_in(self._settings, name, platform) for name, platform in gone.items()}
            self._now = now
            with self._sending:
                self._payload = payload
                self._with_gone = self._encode({**components, **with_gone}, {}) if gone else None
                self._link.retained(self._topic, payload, whole=True)
            log.info("Home Assistant is told of %d entities on %s", len(now), self._topic)

    def _encode(self, components: dict[str, Component], gone: dict[str, str]) -> bytes:
        description = describe(self._settings, components, gone, version=__version__)
        return json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()


def _described(note: Any) -> dict[str, str] | None:
    """Return component → platform of a description that is remembered; None: the note is not of one."""
    components = note.get(_COMPONENTS) if isinstance(note, dict) else None
    return components if isinstance(components, dict) else None
