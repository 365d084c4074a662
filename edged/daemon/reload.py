"""The configuration, read again while frames go on (SIGHUP): what can change at once does, the rest is named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edged.errors import ConfigError
from edged.mqtt import broker, trust

if TYPE_CHECKING:
    from edged.settings import Settings

log = logging.getLogger(__name__)


class Reload:
    """Compares a configuration with the one that is in effect.

    Args:
        settings: What is in effect.
        read: Reads the configuration again.
        setters: Key, such as `cameras.main.fps` → what changes it from now on; every other key needs a restart.
        taken_over: Told of each configuration that was taken over.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        setters: Mapping[str, Callable[[Any], None]],
        taken_over: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self.outcome = ""
        """What `systemctl status` should tell until the next time; nothing where all is in effect."""
        self._read = read
        self._setters = setters
        self._taken_over = taken_over
        self._in_effect = _flat(settings)

    def __call__(self) -> None:
        """Read it and change what can change. One that is wrong changes nothing."""
        try:
            settings = self._read()
            broker.brokers(settings.mqtt)
            trust.Trust(settings.security.trusted_keys)
        except ConfigError as error:
            log.error("%s; the configuration stays as it was", error)
            self.outcome = f"configuration not taken over: {error}"
            return
        wanted = _flat(settings)
        changed = [key for key in {**self._in_effect, **wanted} if self._in_effect.get(key) != wanted.get(key)]
        # A camera that is new, or no more wanted, is named as a whole.
        cameras = [key.rpartition(".")[0] for key in changed if not (key in self._in_effect and key in wanted)]
        at_once = [key for key in changed if key in self._setters and key in wanted]
        waiting = [key for key in changed if key not in at_once and key.rpartition(".")[0] not in cameras]
        waiting += list(dict.fromkeys(cameras))
        for key in at_once:
            self._setters[key](wanted[key])
            self._in_effect[key] = wanted[key]
        self._taken_over(settings)
        news = ", ".join(f"{key} = {wanted[key]}" for key in at_once)
        log.info("configuration read again: %s", f"from now on {news}" if news else "nothing that changes at once")
        if waiting:
            log.warning("needs a restart: %s", ", ".join(waiting))
        for line in settings.unwatched() if at_once else ():
            log.warning("%s", line)
        self.outcome = f"needs a restart: {', '.join(waiting)}" if waiting else ""


def _flat(settings: Settings) -> dict[str, Any]:
    """Return every key with its value; a camera's is `cameras.NAME.KEY`."""
    flat: dict[str, Any] = {}
    for section, values in settings.model_dump().items():
        for key, value in values.items():
            if isinstance(value, dict):
                flat |= {f"{section}.{key}.{name}": part for name, part in value.items()}
            else:
                flat[f"{section}.{key}"] = value
    return flat
