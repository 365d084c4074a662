"""What the machine measures of itself: power, temperature, load and clocks.

* `jetson` and `jtop_data`: jetson-stats, where its service answers; `tegra`: a Jetson's own files; `host`: any
  Linux box
* `performance`: what the machine is set to: power mode, governor, limits of its clocks
* `sysfs`: reading the kernel's files

A reading is `edged.types.Reading`; `edged.daemon.telemetry` publishes it, as `edged.contract.messages` declares.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edged.types import Reading

__all__ = ["Sensors", "open_sensors", "performance"]

_logger = logging.getLogger(__name__)


class Sensors(Protocol):
    """One way to read this machine. `read` may block for seconds (jtop), so it has a thread of its own."""

    name: str
    """"jtop", "tegra" or "host": shown on `info` and by `edged doctor`."""

    problem: str | None
    """Why these are not the best sensors that this machine seems to have, one line; None: they are."""

    def read(self) -> Reading:
        """Return what can be read now; what cannot is absent. Never raises."""

    def close(self) -> None:
        """Let go of files and services. May be called twice."""


def open_sensors(root: Path = Path("/")) -> Sensors:
    """Choose the best way to read this machine: jtop where its service answers, else Tegra sysfs, else psutil.

    Args:
        root: Where `sys`, `proc` and `run` lie; another folder than `/` reads a recorded tree.

    Returns:
        Open sensors. This takes some seconds at most, also where the jtop service hangs.
    """
    from edged.sensors.host import HostSensors
    from edged.sensors.jetson import JtopSensors, find_jtop
    from edged.sensors.tegra import TegraSensors, is_tegra

    jtop = find_jtop(root)
    if isinstance(jtop, JtopSensors) and jtop.connect():
        return jtop
    sensors = TegraSensors(root) if is_tegra(root) else HostSensors(root)
    if isinstance(jtop, JtopSensors):
        sensors.problem = jtop.problem
    elif jtop is not None:
        sensors.problem = jtop
        _logger.info("%s", jtop)
    return sensors
