"""Moves along the measured accuracy/cost curve to keep a budget, and back with hysteresis. Pure: it reads no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.types import Reading

_TOTAL_RAILS = ("vdd_in", "total", "tot", "power tot")
"""Names that boards give to the rail that feeds everything, in lower case."""
_RELIEF = 0.9
"""Back up only when every quantity is below this share of its limit (a temperature: 5 °C below)."""
_RELIEF_C = 5.0
_HOLD_S = 30.0
"""And not sooner than that after the last move; down again at most every `_SETTLE_S`."""
_SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What must not be exceeded; None: no limit.

    Attributes:
        max_mean_ms: Mean time of a frame in networks, features and decisions.
        max_power_mw: Of the whole machine.
        max_temp_c: Of the hottest zone.
    """

    max_mean_ms: float | None = None
    max_power_mw: float | None = None
    max_temp_c: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the machine does now; None: cannot be read.

    Attributes:
        mean_ms: Mean time of the frames since the last step; None without frames.
        power_mw: Of the whole machine.
        temp_c: Of the hottest zone.
        throttled: Whether the machine slows itself down.
    """

    mean_ms: float | None = None
    power_mw: float | None = None
    temp_c: float | None = None
    throttled: bool | None = None


class Governor:
    """Chooses the operating point.

    Args:
        costs_ms: Measured mean time of each operating point, cheapest first.
        ceiling: The point to run at while nothing forbids it.
        budget: The limits.
    """

    def __init__(self, costs_ms: Sequence[float], ceiling: int, budget: Budget) -> None:
        self._costs = list(costs_ms)
        self._budget = budget
        self._ceiling, self._ceiling_reason = self._within(ceiling)
        self.point = self._ceiling
        self.reason = self._ceiling_reason
        """Why this point; "within budget" where nothing forbids the ceiling."""
        self._moved_s: float | None = None

    @property
    def state(self) -> str:
        """ "normal" at the ceiling that the configuration sets, else "reduced"."""
        return "normal" if self.point >= self._ceiling else "reduced"

    def step(self, now: Measured, now_s: float) -> int:
        """Take in what was measured and return the operating point.

        Args:
            now: Since the last step.
            now_s: Monotonic clock, seconds.
        """
        since = float("inf") if self._moved_s is None else now_s - self._moved_s
        if excess := self._excess(now):
            self.reason = excess if self.point > 0 else f"{excess}; the cheapest point runs already"
            if self.point > 0 and since >= _SETTLE_S:
                self._move(self.point - 1, now_s)
        elif self.point < self._ceiling and since >= _HOLD_S and self._relieved(now):
            self._move(self.point + 1, now_s)
            self.reason = "recovering" if self.point < self._ceiling else self._ceiling_reason
        elif self.point >= self._ceiling:
            self.reason = self._ceiling_reason
        return self.point

    def _within(self, ceiling: int) -> tuple[int, str]:
        limit = self._budget.max_mean_ms
        if limit is None or self._costs[ceiling] <= limit:
            return ceiling, "within budget"
        fitting = [point for point in range(ceiling + 1) if self._costs[point] <= limit]
        if not fitting:
            return 0, f"max_mean_ms = {limit:g}: even the cheapest point takes {self._costs[0]:.1f} ms"
        return max(fitting), f"max_mean_ms = {limit:g}"

    def _excess(self, now: Measured) -> str | None:
        """Say which limit is exceeded; None where none is."""
        budget = self._budget
        if now.throttled:
            return "throttled"
        for name, value, limit in (
            ("temp_c", now.temp_c, budget.max_temp_c),
            ("power_mw", now.power_mw, budget.max_power_mw),
            ("mean_ms", now.mean_ms, budget.max_mean_ms),
        ):
            if value is not None and limit is not None and value > limit:
                return f"{name} {value:.4g} > {limit:g}"
        return None

    def _relieved(self, now: Measured) -> bool:
        budget = self._budget
        cool = budget.max_temp_c is None or now.temp_c is None or now.temp_c <= budget.max_temp_c - _RELIEF_C
        frugal = budget.max_power_mw is None or now.power_mw is None or now.power_mw <= budget.max_power_mw * _RELIEF
        # What the next point will take is known from the curve, scaled by how slow the machine is now.
        fast = True
        if budget.max_mean_ms is not None and now.mean_ms is not None:
            slowness = now.mean_ms / max(self._costs[self.point], 1e-9)
            fast = self._costs[self.point + 1] * slowness <= budget.max_mean_ms
        return cool and frugal and fast

    def _move(self, point: int, now_s: float) -> None:
        self.point, self._moved_s = point, now_s


def total_power_mw(reading: Reading) -> int | None:
    """Return the whole machine's power: the rail that stands for it, else the sum; None without rails."""
    rails = reading.power_mw
    for name, value in rails.items():
        if name.lower() in _TOTAL_RAILS:
            return value
    return sum(rails.values()) if rails else None


def hottest(reading: Reading) -> float | None:
    """Return the temperature of the hottest zone; None where none can be read."""
    return max(reading.temp_c.values(), default=None)
