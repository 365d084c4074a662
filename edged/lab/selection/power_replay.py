"""Runs the governor against a trace of power: what a machine would take if it worked as the trace says. Pure.

A trace has samples of power for each state of the machine: idle, or running one of the networks. A simulated device
classifies frame after frame at the points that the governor asks for, pauses where it asks for pauses, and takes at
each moment the next sample of its state. The sensor is read now and then, and the governor asked every few seconds, as
on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.selection.energy import EnergyMeter
from edged.selection.governor import Governor, Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

IDLE = "idle"
_SAMPLE_S = 0.1
_READ_S = 0.5
_TICK_S = 0.01


@dataclass(frozen=True, eq=False)
class PowerRun:
    """What became of a run.

    Attributes:
        power_mw: (samples,) of the machine, ten a second.
        levels: (steps,) the governor's, one each interval.
        frames: How many were classified.
        joules: Of the whole run.
    """

    power_mw: NDArray[np.float64]
    levels: NDArray[np.float64]
    frames: int
    joules: float

    def window_means_mw(self, seconds: float) -> NDArray[np.float64]:
        """Return the mean power of every window of that length that begins after the first one is over."""
        width = round(seconds / _SAMPLE_S)
        sums = np.cumsum(np.insert(self.power_mw, 0, 0.0))
        return np.asarray((sums[2 * width :] - sums[width:-width]) / width)


def run(
    trace: Mapping[str, Sequence[float]],
    points: Sequence[Sequence[tuple[str, float]]],
    governor: Governor,
    *,
    seconds: float,
    interval_s: float = 5.0,
    read: Callable[[float], float | None] = lambda milliwatts: milliwatts,
) -> PowerRun:
    """Simulate.

    Args:
        trace: State → milliwatts, ten samples a second; repeated from its start where it ends.
        points: Per operating point what a frame takes: states and their milliseconds.
        governor: Asked every interval.
        seconds: Length of the run.
        interval_s: Of the telemetry.
        read: Returns what a sensor says where the machine takes so much; a test may go through real files.
    """
    whole, seen, taken, levels = EnergyMeter(), EnergyMeter(), [], []
    cursors = dict.fromkeys(trace, 0)
    work: list[tuple[str, float]] = []
    frames, owed, state, left_s = 0, 0.0, IDLE, 0.0
    ticks = round(seconds / _TICK_S)
    per_sample, per_read, per_step = (round(each / _TICK_S) for each in (_SAMPLE_S, _READ_S, interval_s))
    mixed = 0.0
    for tick in range(ticks + 1):
        left_s -= _TICK_S
        while left_s <= 0:
            if not work:
                level = max(governor.level, 0.0)
                low = int(level)
                owed += level - low
                point = low + 1 if owed >= 1 else low
                owed -= owed >= 1
                work = list(points[point])
                work.append((IDLE, governor.pauses * sum(ms for _, ms in work)))
                frames += 1
            state, milliseconds = work.pop(0)
            left_s += milliseconds / 1000
        samples = trace[state]
        mixed += samples[cursors[state] % len(samples)] / per_sample
        if tick % per_sample == per_sample - 1:
            taken.append(mixed)
            whole.add(mixed, tick * _TICK_S)
            cursors = {name: cursor + 1 for name, cursor in cursors.items()}
            if (tick + 1) % per_read == 0:
                seen.add(read(mixed), tick * _TICK_S)
            if (tick + 1) % per_step == 0:
                governor.step(Measured(power_mw=seen.take_mean_mw()), tick * _TICK_S)
                levels.append(governor.level)
            mixed = 0.0
    return PowerRun(np.array(taken), np.array(levels), frames, whole.joules)
