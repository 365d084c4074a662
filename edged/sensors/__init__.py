"""Power, temperature, load and clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edged.types import Reading


class Sensors(Protocol):
    """One way to read this machine. `read` may block for seconds (jtop), so it has a thread of its own."""

    name: str
    """"jtop", "tegra" or "host": shown on `info` and by `edged doctor`."""

    def read(self) -> Reading:
        """Return what can be read now; what cannot is absent. Never raises."""

    def close(self) -> None:
        """Let go of files and services. May be called twice."""
