"""The rails of a Jetson TX2: the trace beside this file, and a tree of files in which a sample of it can be read."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from edged.selection.governor import total_power_mw
from edged.sensors.tegra import TegraSensors

TRACE = Path(__file__).with_name("ina3221_tx2.csv")
_ROOT = Path(__file__).parents[1] / "sensors" / "tx2_root"
_CHIP = "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1"


def read_trace() -> dict[str, list[float]]:
    """State → milliwatts of the whole module (VDD_IN), ten a second."""
    with TRACE.open(newline="") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        found: dict[str, list[float]] = {}
        for row in rows:
            found.setdefault(row["state"], []).append(float(row["VDD_IN"]))
    return found


class Rails:
    """A TX2 whose INA3221 says what it is told."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(_ROOT, folder, symlinks=True)
        self._file = folder / _CHIP / "in_power0_input"
        assert (folder / _CHIP / "rail_name_0").read_text().strip() == "VDD_IN"
        self._sensors = TegraSensors(folder)

    def read(self, milliwatts: float) -> int | None:
        """Let the whole module take so much, and read it as the daemon does."""
        self._file.write_text(f"{round(milliwatts)}\n")
        return total_power_mw(self._sensors.read())
