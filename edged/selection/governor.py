"""Moves along the measured accuracy/cost curve to keep a budget, and back with hysteresis. Pure: it reads no clock.

Heat, throttling and mean time move the operating point down step by step, and back with hysteresis. A power budget is
kept by a controller of its own: it mixes two neighbouring operating points from frame to frame, and where the cheapest
one takes too much power it puts pauses between the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.types import Reading

_TOTAL_RAILS = ("vdd_in", "total", "tot", "power tot")
"""Names that boards give to the rail that feeds everything, in lower case."""
_RELIEF_C = 5.0
"""Back up only when it is cooler than the limit by so much."""
_HOLD_S = 30.0
"""And not sooner than that after the last move; down again at most every `_SETTLE_S`."""
_SETTLE_S = 5.0
_MIXING_GAIN, _PAUSING_GAIN = 4.0, 0.25
"""How far the level moves at each step for a power that is wrong by the whole budget: between operating points, where
power differs little, and in pauses, where it differs much."""
_LOWEST = -0.98
"""Level of the longest pauses: a fiftieth of the time is left for frames."""


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
        power_mw: Of the whole machine, mean since the last step.
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
        self._level = float(self._ceiling)

    @property
    def level(self) -> float:
        """Where to run: k + f means that a share f of the frames runs at point k + 1 and the others at k.

        Below 0 all frames run at the cheapest point, and a share of −level of the time is pauses.
        """
        return min(self._level, float(self.point))

    @property
    def pauses(self) -> float:
        """How long to pause after a frame, as a multiple of the time that it took."""
        return -self.level / (1 + self.level) if self.level < 0 else 0.0

    @property
    def state(self) -> str:
        """ "normal" at the ceiling that the configuration sets, else "reduced"."""
        return "normal" if self.level >= self._ceiling else "reduced"

    def step(self, now: Measured, now_s: float) -> int:
        """Take in what was measured and return the dearest operating point that frames may run at.

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
        self._keep_power(now.power_mw)
        return self.point

    def _keep_power(self, power_mw: float | None) -> None:
        """Move the level against the error of the mean power: an integral controller."""
        limit = self._budget.max_power_mw
        if limit is None or power_mw is None:
            self._level = float(self._ceiling)
            return
        wrong = (limit - power_mw) / limit
        even = self._level / (_MIXING_GAIN if self._level > 0 else _PAUSING_GAIN) + max(-1.0, wrong)
        moved = even * (_MIXING_GAIN if even > 0 else _PAUSING_GAIN)
        self._level = max(_LOWEST, min(float(self.point), moved))
        if self._level < self.point and self.point == self._ceiling:
            self.reason = f"max_power_mw = {limit:g}" + (": with pauses" if self._level < 0 else "")

    def _within(self, ceiling: int) -> tuple[int, str]:
        limit = self._budget.max_mean_ms
        if limit is None or self._costs[ceiling] <= limit:
            return ceiling, "within budget"
        fitting = [point for point in range(ceiling) if self._costs[point] <= limit]
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
            ("mean_ms", now.mean_ms, budget.max_mean_ms),
        ):
            if value is not None and limit is not None and value > limit:
                return f"{name} {value:.4g} > {limit:g}"
        return None

    def _relieved(self, now: Measured) -> bool:
        budget = self._budget
        cool = budget.max_temp_c is None or now.temp_c is None or now.temp_c <= budget.max_temp_c - _RELIEF_C
        # What the next point will take is known from the curve, scaled by how slow the machine is now.
        fast = True
        if budget.max_mean_ms is not None and now.mean_ms is not None:
            slowness = now.mean_ms / max(self._costs[self.point], 1e-9)
            fast = self._costs[self.point + 1] * slowness <= budget.max_mean_ms
        return cool and fast

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
