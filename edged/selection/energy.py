"""Energy out of samples of power. Pure: it reads no clock and no sensor."""

from __future__ import annotations


class EnergyMeter:
    """Integrates power over time by the trapezoid rule.

    Between two samples the power is taken to change evenly. Where a sample is missing nothing is added until there are
    two again: `seconds` says how long the energy is of.
    """

    def __init__(self) -> None:
        self.joules = 0.0
        self.seconds = 0.0
        self._last: tuple[float, float] | None = None
        self._taken = (0.0, 0.0)

    def add(self, power_mw: float | None, now_s: float) -> None:
        """Take in a sample.

        Args:
            power_mw: Milliwatts; None: it could not be read.
            now_s: Monotonic clock, seconds.
        """
        if power_mw is not None and self._last is not None:
            before_mw, before_s = self._last
            self.joules += (before_mw + power_mw) / 2 * (now_s - before_s) / 1000
            self.seconds += now_s - before_s
        self._last = None if power_mw is None else (power_mw, now_s)

    def take_mean_mw(self) -> float | None:
        """Return the mean power since this was last asked, milliwatts; None where two samples are not there yet."""
        joules, seconds = self.joules - self._taken[0], self.seconds - self._taken[1]
        self._taken = self.joules, self.seconds
        return joules / seconds * 1000 if seconds > 0 else None
