"""What a machine was set to, in words, as the trees of three JetPacks tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.contract.reports import PerformanceState
from edged.sensors import performance
from edged.terminal.performance import set_to

TREES = Path(__file__).parents[1] / "sensors"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            "tx2_root",
            "L4T 32.6.1, nvpmodel MAXP_CORE_ARM, clocks not locked, governor schedutil, cpu at 2035 MHz (346 to 2035), "
            "gpu at 1135 MHz (115 to 1135)",
        ),
        (
            "orin_root",
            "L4T 35.4.1, nvpmodel MODE_30W, clocks not locked, governor schedutil, gpu at 306 MHz (306 to 625), "
            "cpu 730 to 1728 MHz",
        ),
        (
            "orin_nano_root",
            "L4T 36.4.7, nvpmodel MAXN_SUPER, clocks locked, governor schedutil, cpu at 1728 MHz, gpu at 1020 MHz",
        ),
        ("nothing", ""),
    ],
)
def test_what_each_jetpack_tells(tree: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance.read_performance, "__defaults__", (TREES / tree,))
    assert set_to(PerformanceState(**performance.told())) == words
