"""What a machine was set to, in words: without that nobody can measure again what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.contract.reports import PerformanceState


def set_to(state: PerformanceState) -> str:
    """Return it as parts with commas between; "" where the machine tells nothing."""
    parts = [f"L4T {state.l4t}"] if state.l4t is not None else []
    parts += [f"nvpmodel {state.nvpmodel}"] if state.nvpmodel is not None else []
    if state.jetson_clocks is not None:
        parts.append("clocks locked" if state.jetson_clocks else "clocks not locked")
    parts += [f"governor {state.governor}"] if state.governor is not None else []
    clocks, ranges = state.clock_mhz or {}, state.clock_range_mhz or {}
    parts += [_clock(name, clocks.get(name), ranges.get(name)) for name in {**clocks, **ranges}]
    return ", ".join(parts)


def _clock(name: str, mhz: int | None, limits: tuple[int, int] | None) -> str:
    low, high = limits or (None, None)
    if mhz is None:
        return f"{name} {low} to {high} MHz"
    return f"{name} at {mhz} MHz" if low == high else f"{name} at {mhz} MHz ({low} to {high})"
