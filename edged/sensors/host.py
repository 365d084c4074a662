"""Any other Linux machine, through psutil; the power counters of x86 and the firmware's word on a Raspberry Pi."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from edged.sensors import sysfs
from edged.types import Reading

_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_SLOWED = 0b1110
"""Bit 1: the clock is capped, 2: throttled, 3: soft temperature limit. Bit 0, under-voltage, alone slows nothing."""


class HostSensors:
    """Sensors of a laptop, a server or a Raspberry Pi."""

    name = "host"
    problem: str | None = None

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._energy, self._energy_at = rapl_energy(root), time.monotonic()
        self._cpu = _of_proc(psutil.cpu_times)

    def read(self) -> Reading:
        """Read what psutil and sysfs offer. CPU load and power are means since the last reading."""
        energy, now = rapl_energy(self._root), time.monotonic()
        power = mean_power_mw(self._energy, energy, now - self._energy_at)
        self._energy, self._energy_at = energy, now
        clock = _cpu_clock_mhz()
        # Not psutil.cpu_percent(): that one remembers per thread, so the first call of another thread says 0.
        cpu, self._cpu = self._cpu, _of_proc(psutil.cpu_times)
        busy = None if cpu is None or self._cpu is None else busy_share(cpu, self._cpu)
        memory = _of_proc(psutil.virtual_memory)
        return Reading(
            power_mw=power,
            temp_c=_temperatures(),
            load=({} if busy is None else {"cpu": round(busy, 4)})
            | ({} if memory is None else {"memory": round(memory.percent / 100, 4)}),
            clock_mhz={} if clock is None else {"cpu": clock},
            throttled=throttled(self._root),
        )

    def close(self) -> None:
        """Nothing is kept open."""


def _of_proc(read: Callable[[], Any]) -> Any:
    """Return what psutil finds in /proc, or None where that is not mounted."""
    try:
        return read()
    except OSError:
        return None


def busy_share(before: Any, after: Any) -> float | None:
    """Return the share of all cores' time, 0..1, that went to work between two `psutil.cpu_times()`.

    None where no time has passed on that clock. A guest's time is in its host's already, and a core that waits for a
    disk is idle (see proc(5)).
    """
    spent = {name: getattr(after, name) - getattr(before, name) for name in after._fields}
    spent = {name: max(seconds, 0.0) for name, seconds in spent.items() if name not in ("guest", "guest_nice")}
    whole = sum(spent.values())
    idle = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    return None if whole <= 0 else (whole - idle) / whole


def throttled(root: Path) -> bool | None:
    """Say whether the machine slows itself down: a Raspberry Pi's firmware knows, else the cooling devices."""
    text = sysfs.read_text(root / _PI_THROTTLED)
    try:
        return bool(int(text, 16) & _PI_SLOWED) if text else sysfs.cooling_throttled(root)
    except ValueError:
        return sysfs.cooling_throttled(root)


def rapl_energy(root: Path) -> dict[str, tuple[int, int]]:
    """Return (energy, counter range) in microjoules by RAPL zone, e.g. {"package-0": (81423, 262143328850)}.

    Kernels since 5.10 let only root read these: then there is none.
    """
    zones: dict[str, tuple[int, int]] = {}
    for folder in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name, energy = sysfs.read_text(folder / "name"), sysfs.read_int(folder / "energy_uj")
        if name and energy is not None:
            parent = sysfs.read_text(folder.with_name(folder.name.rpartition(":")[0]) / "name")
            zones[f"{parent}/{name}" if parent else name] = (
                energy,
                sysfs.read_int(folder / "max_energy_range_uj") or 0,
            )
    return zones


def mean_power_mw(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], seconds: float
) -> dict[str, int]:
    """Return mean milliwatts by zone between two `rapl_energy`; a counter that went round once is put right."""
    power: dict[str, int] = {}
    for name, (energy, span) in after.items():
        if name not in before or seconds <= 0:
            continue
        microjoules = energy - before[name][0]
        if microjoules < 0:
            microjoules += span
        if microjoules >= 0:
            power[name] = round(microjoules / seconds / 1000)
    return power


def _temperatures() -> dict[str, float]:
    """Return °C by sensor, e.g. {"coretemp Package id 0": 51.0, "cpu_thermal": 48.2}."""
    try:
        chips = psutil.sensors_temperatures()
    except (AttributeError, OSError, ValueError):  # psutil lacks it beside Linux and BSD; a driver may fail
        return {}
    zones: dict[str, float] = {}
    for chip, sensors in chips.items():
        for number, sensor in enumerate(sensors):
            name = f"{chip} {sensor.label}".strip()
            if sensor.current is not None and sysfs.plausible_c(sensor.current):
                zones[name if name not in zones else f"{name} {number}"] = round(float(sensor.current), 2)
    return zones


def _cpu_clock_mhz() -> int | None:
    """Return the mean clock of the cores, MHz."""
    try:
        clock = psutil.cpu_freq()
    except (AttributeError, NotImplementedError, OSError, ValueError):  # machines without cpufreq, some containers
        return None
    return round(clock.current) if clock is not None and clock.current else None
