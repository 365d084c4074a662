"""What the machine was set to while something was timed: power mode, locked clocks, governor, clocks.

It is kept beside the numbers, and stands below their table: on a Jetson another mode is another result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edged.contract.reports import PerformanceState
from edged.sensors import performance
from edged.terminal.performance import set_to


def told() -> dict[str, Any]:
    """Return it under the key `performance`; nothing where the machine tells nothing."""
    found = performance.told()
    return {"performance": found} if found else {}


def sentence(numbers: Mapping[str, Any]) -> str:
    """Return it as a sentence that follows others; "" where nothing was told or kept."""
    words = set_to(PerformanceState.model_validate(numbers.get("performance", {})))
    return f" The machine was set to: {words}." if words else ""
