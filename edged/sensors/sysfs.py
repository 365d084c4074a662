"""Files that every Linux has below /sys and /proc. What cannot be read is None."""

from __future__ import annotations

import re
from pathlib import Path

_PLAUSIBLE_C = (-100.0, 200.0)
"""Beyond these no silicon works: −256 °C, −273 °C and 0xffff… stand for "offline" in one driver or another."""

_SLOWING = re.compile(r"balanced|throttle|^(cpu|gpu)[_-]hot|^(thermal-)?(cpufreq|devfreq)|^Processor$")
"""Cooling devices that cool by slowing down. Fans, and alerts that only warn, are not among them."""


def read_text(path: Path) -> str | None:
    """Return the file's text without surrounding space, or None where it is absent, forbidden or broken."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
    except OSError:  # sysfs answers EAGAIN, EIO or EINVAL for a sensor that is asleep
        return None


def read_int(path: Path) -> int | None:
    """Return the decimal integer in a file, or None."""
    text = read_text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,20}", text) else None


def plausible_c(temperature: float) -> bool:
    """Say whether a temperature in °C can be one, rather than a driver's word for "offline"."""
    return _PLAUSIBLE_C[0] < temperature < _PLAUSIBLE_C[1]  # false for nan


def thermal_zones(root: Path) -> dict[str, float]:
    """Return °C by zone type, `-therm` and its kind cut off, e.g. {"GPU": 41.5}.

    The PMIC zone is left out: on a Jetson it is a constant 100 °C.
    """
    zones: dict[str, float] = {}
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*"), key=_index):
        kind, millidegrees = read_text(folder / "type"), read_int(folder / "temp")
        if not kind or millidegrees is None or kind.upper().startswith("PMIC") or not plausible_c(millidegrees / 1000):
            continue
        name = re.sub(r"[-_](therm(al)?|tegra)$", "", kind)
        zones[name if name not in zones else f"{name}{_index(folder)}"] = round(millidegrees / 1000, 2)
    return zones


def cooling_throttled(root: Path) -> bool | None:
    """Say whether a cooling device slows the machine down now; None where no such device can be read."""
    states = [
        state
        for folder in (root / "sys/class/thermal").glob("cooling_device*")
        if _SLOWING.search(read_text(folder / "type") or "") and (state := read_int(folder / "cur_state")) is not None
    ]
    return any(state > 0 for state in states) if states else None


def cpu_clock_mhz(root: Path) -> int | None:
    """Return the clock of the fastest core that is online, MHz."""
    pattern = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
    khz = [value for path in root.glob(pattern) if (value := read_int(path))]
    return round(max(khz) / 1000) if khz else None


def cpu_times(root: Path) -> tuple[int, int] | None:
    """Return jiffies since boot: (busy, all), summed over the cores; idle and iowait are not busy."""
    for line in (read_text(root / "proc/stat") or "").splitlines():
        fields = line.split()
        if fields[:1] == ["cpu"] and len(fields) >= 6 and all(field.isdigit() for field in fields[1:]):
            times = [int(field) for field in fields[1:9]]  # guest time, the last two, is in user and nice already
            return sum(times) - times[3] - times[4], sum(times)
    return None


def cpu_load(before: tuple[int, int] | None, now: tuple[int, int] | None) -> float | None:
    """Return the busy fraction 0..1 between two `cpu_times`; `before` None: since boot."""
    if now is None:
        return None
    busy, total = (after - earlier for after, earlier in zip(now, before or (0, 0), strict=True))
    return round(min(max(busy / total, 0.0), 1.0), 4) if total > 0 else None


def memory_load(root: Path) -> float | None:
    """Return the fraction of memory that programs cannot get, 1 − MemAvailable / MemTotal."""
    pairs = re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    kib = {name: int(value) for name, value in pairs}
    if not kib.get("MemTotal") or "MemAvailable" not in kib:
        return None
    return round(1 - kib["MemAvailable"] / kib["MemTotal"], 4)


def _index(folder: Path) -> int:
    digits = re.search(r"\d+$", folder.name)
    return int(digits.group()) if digits else 0
