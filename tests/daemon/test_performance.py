"""`info` tells what a Jetson is set to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.daemon.announcements import _performance
from edged.sensors import performance

TREES = Path(__file__).parents[1] / "sensors"


def test_info_tells_what_the_machine_is_set_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(performance.read_performance, "__defaults__", (TREES / "orin_nano_root",))
    told = _performance()
    assert told is not None
    assert told.model_dump(mode="json") == {
        "l4t": "36.4.7",
        "nvpmodel": "MAXN_SUPER",
        "jetson_clocks": True,
        "governor": "schedutil",
        "clock_mhz": {"cpu": 1728, "gpu": 1020},
        "clock_range_mhz": {"cpu": [1728, 1728], "gpu": [1020, 1020]},
    }
    monkeypatch.setattr(performance.read_performance, "__defaults__", (tmp_path,))
    assert _performance() is None
