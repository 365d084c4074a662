"""What the whole machine takes to do something once: its power, integrated while that is done again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edged.selection.energy import EnergyMeter
from edged.selection.governor import total_power_mw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edged.sensors import Sensors
    from edged.vision.network import Network

_POWER_S = 2.0
_OLD_S = {"jtop": 1.5}
"""Sensors whose power may be that of a moment ago → how long they are given to see what runs: jtop's service tells
what it has read once a second."""


def energy_of_image_mj(network: Network, image: NDArray[np.uint8], sensors: Sensors) -> float | None:
    """Return what one image takes, its preparing included, millijoules; None where power could not be read twice."""
    return energy_of_run_mj(lambda: network.infer(network.prepare(image)), sensors)


def energy_of_run_mj(
    run: Callable[[], object], sensors: Sensors, clock: Callable[[], float] = time.monotonic
) -> float | None:
    """Repeat something for some seconds, integrate the machine's power meanwhile, and return the share of one time.

    Args:
        run: What is done.
        sensors: Read a few times a second.
        clock: Monotonic, seconds.

    Returns:
        Millijoules; None where power could not be read twice.
    """
    settled = clock() + _OLD_S.get(sensors.name, 0.0)
    while clock() < settled:
        run()
    meter, runs = EnergyMeter(), 0
    began = asked = clock()
    meter.add(total_power_mw(sensors.read()), began)
    while (now := clock()) - began < _POWER_S:
        run()
        runs += 1
        if (now := clock()) - asked > _POWER_S / 20:
            asked = now
            meter.add(total_power_mw(sensors.read()), now)
    if meter.seconds <= 0:
        return None
    # Samples and runs end at slightly different moments.
    return meter.joules * 1000 / runs * (clock() - began) / meter.seconds
